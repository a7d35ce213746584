"""A Kafka broker of the tests' own: one node, from locked jars, on the loopback address."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

from generators.kafka import Message, produce
from lakehouse.engine import local
from lakehouse.engine.jars import fetch_jars, locked_jars
from lakehouse.engine.java import require_java
from lakehouse.settings import PROJECT

ADDRESS = "LAKEHOUSE_KAFKA_BOOTSTRAP_SERVERS"
LOCK = Path(__file__).with_suffix(".lock")
JARS = PROJECT / ".tools" / "kafka"
_SECONDS = 60
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners={protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocol}:{protocol}
inter.broker.listener.name={protocol}
log.dirs={folder}/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
offsets.topic.num.partitions=1
auto.create.topics.enable=false
message.max.bytes=16000000
log.retention.ms=-1
log.initial.task.delay.ms=100
file.delete.delay.ms=0
group.initial.rebalance.delay.ms=0
"""
_SASL = """\
sasl.enabled.mechanisms=PLAIN
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required \
username="{user}" password="{password}" user_{user}="{password}";
"""


def declared_topics() -> list[str]:
    """The topics of all declared tables."""
    return [topic for table in local.declared_tables() for topic in table.feeds.get("kafka", ())]


class Broker:
    """A broker that can be started, stopped, killed and started again.

    Args:
        folder: Where it keeps all that it has.
        login: A user and a password without which it lets nobody in.
    """

    def __init__(self, folder: Path, login: tuple[str, str] | None = None) -> None:
        fetch_jars(require_java(), locked_jars(LOCK, JARS))
        self._folder = folder
        self._java = require_java().home / "bin" / "java"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        port, controller = _free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self._client: dict[str, Any] = {"bootstrap.servers": self.address}
        protocol = "SASL_PLAINTEXT" if login else "PLAINTEXT"
        text = _PROPERTIES.format(
            protocol=protocol, port=port, controller=controller, folder=folder
        )
        if login:
            user, password = login
            text += _SASL.format(user=user, password=password)
            self._client |= {
                "security.protocol": protocol,
                "sasl.mechanism": "PLAIN",
                "sasl.username": user,
                "sasl.password": password,
            }
        (folder / "server.properties").write_text(text)
        shutil.copyfile(Path(__file__).with_name("kafka-log4j2.yaml"), folder / "log4j2.yaml")
        self._run("kafka.tools.StorageTool", "format", "-t", _uuid(), "-c", "server.properties")

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("kafka.Kafka", "server.properties"),
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + _SECONDS
        while time.monotonic() < until:
            try:
                self.admin.list_topics(timeout=2)
            except Exception:
                assert self._process.poll() is None, (self._folder / "log").read_text()[-3000:]
                time.sleep(0.1)
            else:
                return
        raise TimeoutError((self._folder / "log").read_text()[-3000:])

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """Ends it; what it has been given is kept."""
        if self._process:
            self._process.send_signal(sign)
            try:
                self._process.wait(_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        """Ends it at once."""
        self.stop(signal.SIGKILL)

    def pause(self) -> None:
        """Lets it answer nobody until `go_on`."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends a pause."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    @cached_property
    def admin(self) -> AdminClient:
        """A client for what a topic is."""
        return AdminClient(self._client | {"log_level": 0})

    def create(self, *topics: str, partitions: int = 1, **config: str) -> None:
        """Makes topics."""
        names = {name.replace("_", "."): value for name, value in config.items()}
        made = self.admin.create_topics(
            [NewTopic(topic, partitions, 1, config=names) for topic in topics]
        )
        for future in made.values():
            future.result(_SECONDS)

    def empty(self) -> None:
        """Makes all topics anew."""
        topics = [name for name in self.admin.list_topics(timeout=5).topics if name[0] != "_"]
        for topic in topics:
            self.delete(topic)
        self.create(*topics)

    def delete(self, topic: str) -> None:
        """Takes a topic away."""
        self.admin.delete_topics([topic])[topic].result(_SECONDS)
        until = time.monotonic() + _SECONDS
        while topic in self.admin.list_topics(timeout=5).topics and time.monotonic() < until:
            time.sleep(0.05)

    @contextmanager
    def known(self) -> Iterator[None]:
        """All declared topics are there, empty, and the lakehouse knows of the broker."""
        topics = declared_topics()
        self.create(*topics)
        os.environ[ADDRESS] = self.address
        try:
            yield
        finally:
            del os.environ[ADDRESS]
            for topic in topics:
                self.delete(topic)

    def delete_before(self, topic: str, last: int) -> None:
        """Deletes all messages of the first partition but so many."""
        place = TopicPartition(topic, 0)
        ends = self.admin.list_offsets({place: OffsetSpec.latest()})
        place.offset = ends[place].result(_SECONDS).offset - last
        self.admin.delete_records([place])[place].result(_SECONDS)

    def add_partitions(self, topic: str, partitions: int) -> None:
        """Gives a topic so many partitions in all."""
        self.admin.create_partitions([NewPartitions(topic, partitions)])[topic].result(_SECONDS)

    def send(self, topic: str, messages: Iterable[Mapping[str, Any]]) -> None:
        """Sends messages: arguments of `Producer.produce`."""
        self._send({"topic": topic, **message} for message in messages)

    def send_messages(self, messages: Iterable[Message], file: str = "") -> None:
        """Sends what a generator makes of a file, with the file's name in a header."""
        headers = [("file", file.encode())]
        self._send({**message._asdict(), "headers": headers} for message in messages)

    def _send(self, messages: Iterable[Mapping[str, Any]]) -> None:
        producer = self.producer(**{"message.max.bytes": 15_000_000})
        produce(producer, messages)
        assert producer.flush(_SECONDS) == 0

    def producer(self, **options: Any) -> Producer:
        """A producer, for transactions, too; what is sent to a slow broker again counts once."""
        return Producer(self._client | {"log_level": 0, "enable.idempotence": True} | options)

    def _run(self, *arguments: str) -> None:
        subprocess.run(self._command(*arguments), cwd=self._folder, check=True, capture_output=True)

    def _command(self, *arguments: str) -> list[str]:
        options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        logs = "-Dlog4j2.configurationFile=log4j2.yaml"
        return [str(self._java), *options, logs, "-cp", f"{JARS}{os.sep}*", *arguments]


def _uuid() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
