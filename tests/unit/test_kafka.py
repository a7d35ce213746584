"""What is known of a topic without a broker: what has been read, what is lost, what may be set."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from confluent_kafka import KafkaError, KafkaException
from pyspark.errors import PySparkException

import generators.kafka
from generators.kafka import Message
from generators.network import story as network
from generators.wearables import story as wearables
from ingestion import loads
from ingestion.checkpoint import begin_anew, is_begun, note_of
from ingestion.declaration import Column, DeclarationError, SourceTable
from ingestion.faults import LoadError
from ingestion.feeds import kafka
from ingestion.feeds.kafka import Broker, Kafka, KafkaSettings, There, Topic, load_kafka_settings
from ingestion.feeds.postgres import PulledTables
from ingestion.home import Home
from ingestion.loads import Load, Loads
from lakehouse.engine import local

TABLE = SourceTable("a", "b", "a_b", (Column("x", "string"),), "json", ("x",), "rescue")
THERE = There("id", earliest={0: 5, 1: 0}, end={0: 9, 1: 3})


@pytest.fixture
def topic(tmp_path: Path) -> Topic:
    return Topic(TABLE, "bpm", tmp_path / "bpm")


def write(topic: Topic, number: int, offsets: dict[int, int], *, is_committed: bool = True) -> None:
    """What Spark keeps of a batch."""
    for folder, text in (
        ("offsets", f'v1\n{{"batchWatermarkMs":0}}\n{json.dumps({topic.name: offsets})}'),
        *([("commits", "v1\n{}")] if is_committed else []),
    ):
        (topic.checkpoint / folder).mkdir(parents=True, exist_ok=True)
        (topic.checkpoint / folder / str(number)).write_text(text)
        (topic.checkpoint / folder / f".{number}.crc").write_text("")
    (topic.checkpoint / "metadata").write_text("{}")


def test_what_has_been_read_is_what_is_committed(topic: Topic) -> None:
    assert topic.read() == {}
    assert THERE.waiting(topic.read()) == 4 + 3
    write(topic, 9, {0: 6, 1: 2})
    write(topic, 10, {0: 7, 1: 3})
    write(topic, 11, {0: 9, 1: 3}, is_committed=False)
    assert topic.read() == {0: 7, 1: 3}
    assert THERE.waiting(topic.read()) == 2
    assert THERE.lost(topic, topic.read()) is None


def test_a_checkpoint_that_began_anew_knows_where(topic: Topic) -> None:
    write(topic, 3, {0: 2, 1: 9})
    assert THERE.lost(topic, topic.read()) == (
        "topic bpm has lost offsets, partition 0: 2 to 4; partition 1: 3 to 8"
    )
    begin_anew(topic.checkpoint, THERE.going_on(topic))
    assert not is_begun(topic.checkpoint)
    assert topic.read() == {0: 5, 1: 0}
    assert THERE.lost(topic, topic.read()) is None
    write(topic, 0, {0: 9, 1: 3})
    assert THERE.waiting(topic.read()) == 0


def test_what_is_still_there_is_gone_on_with(topic: Topic) -> None:
    write(topic, 0, {0: 7, 1: 9})
    assert json.loads(THERE.going_on(topic))["offsets"] == {"0": 7, "1": 0}


def test_a_topic_made_anew_is_another_one(topic: Topic) -> None:
    begin_anew(topic.checkpoint, THERE.going_on(topic))
    write(topic, 0, {0: 7, 1: 1})
    assert THERE.lost(topic, topic.read()) is None
    other = replace(THERE, topic_id="other")
    assert other.lost(topic, topic.read()) == "topic bpm has been deleted and made anew"
    assert json.loads(other.going_on(topic))["offsets"] == {"0": 5, "1": 0}


def test_a_partition_that_is_gone_is_lost_and_a_new_one_waits(topic: Topic) -> None:
    write(topic, 0, {0: 7, 2: 4})
    assert THERE.lost(topic, topic.read()) == "topic bpm has lost offsets, partition 2"
    assert THERE.waiting(topic.read()) == 2 + 3


def test_a_new_partition_that_begins_later_has_lost_what_came_before(topic: Topic) -> None:
    write(topic, 0, {1: 2})
    assert THERE.lost(topic, topic.read()) == (
        "topic bpm has lost offsets, partition 0: 0 to 4"  # Spark's source refuses it, too
    )
    begin_anew(topic.checkpoint, THERE.going_on(topic))
    assert topic.read() == {0: 5, 1: 2}
    assert THERE.lost(topic, topic.read()) is None


def test_a_stream_that_has_planned_nothing_yet_may_begin_elsewhere(
    topic: Topic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "_message_columns", list)
    feed = Kafka(MagicMock(), Home(tmp_path), [], MagicMock())
    first = There("id", earliest={0: 5}, end={0: 9})
    feed._read(topic, first)
    (topic.checkpoint / "metadata").write_text("{}")  # the stream began, and failed at once
    feed._read(topic, THERE)
    assert topic.read() == {0: 5, 1: 0}  # all partitions, as Spark's source wants it
    write(topic, 0, {0: 9, 1: 3}, is_committed=False)
    feed._read(topic, There("id", earliest={0: 9, 1: 3, 2: 0}, end={0: 9, 1: 3, 2: 1}))
    assert topic.read() == {0: 5, 1: 0}


def test_a_crash_while_a_checkpoint_is_emptied_is_made_up_for(topic: Topic) -> None:
    write(topic, 0, {0: 7})
    (topic.checkpoint / ".forgotten").write_text("noted")
    (topic.checkpoint / "metadata").unlink()
    assert note_of(topic.checkpoint) == "noted"
    assert [path.name for path in topic.checkpoint.iterdir()] == ["forgotten"]


def test_what_is_not_the_streams_is_kept(topic: Topic) -> None:
    write(topic, 0, {0: 7, 1: 1})
    (topic.checkpoint / ".metadata.crc").write_text("a sum")
    (topic.checkpoint / "pulled.sqlite").write_text("what was pulled last")
    begin_anew(topic.checkpoint, "noted")
    kept = sorted(path.name for path in topic.checkpoint.iterdir())
    assert kept == ["forgotten", "pulled.sqlite"]


class Cluster:
    """A broker and an engine that reads ten messages a batch; topics of one partition."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, *topics: str) -> None:
        self.ends: dict[str, int] = {}
        self.failing: set[str] = set()
        self.is_down = False
        self.asked = 0
        self.bronze: Counter[int] = Counter()
        self.queries: list[tuple[str, bool]] = []
        self.now = 1000.0
        monkeypatch.setenv("LAKEHOUSE_KAFKA_BOOTSTRAP_SERVERS", "broker:9092")
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(kafka, "_BATCH_MESSAGES", 10)
        monkeypatch.setattr(kafka, "Broker", lambda _: self)
        monkeypatch.setattr(kafka, "append", self.append)
        monkeypatch.setattr(kafka, "end", lambda query: query.awaitTermination())
        monkeypatch.setattr(Kafka, "_read", lambda _, topic, __: topic)
        monkeypatch.setattr(loads, "all_feeds", lambda: {"kafka": Kafka})
        monkeypatch.setattr(loads, "record", lambda *_: None)
        spark = SimpleNamespace(
            sql=self.sql, streams=SimpleNamespace(active=[]), conf=MagicMock(spec=["set", "unset"])
        )
        table = replace(TABLE, feeds={"kafka": topics})
        self.loads = Loads(spark, Home(home), [table])  # type: ignore[arg-type]

    def topics(self, names: set[str]) -> dict[str, There | str]:
        self.asked += 1
        if self.is_down:
            raise LoadError("no broker")
        return {
            name: There("id", {0: 0}, {0: self.ends[name]}) if name in self.ends else "no topic"
            for name in names
        }

    def append(
        self, topic: Topic, table: SourceTable, checkpoint: Path, load_id: int, *, one_batch: bool
    ) -> SimpleNamespace:
        self.queries.append((topic.name, one_batch))
        if topic.name in self.failing:
            broken = MagicMock(side_effect=PySparkException("broken"))
            return SimpleNamespace(awaitTermination=broken)
        read, end = topic.read().get(0, 0), self.ends[topic.name]
        for number in range(read, min(end, read + 10) if one_batch else end, 10):
            upto = min(end, number + 10)
            write(topic, number, {0: upto})
            self.bronze[load_id] += upto - number
        return SimpleNamespace(awaitTermination=lambda: None)

    def sql(self, text: str) -> SimpleNamespace:
        load_id = self.loads._so_far.last_load_id if hasattr(self, "loads") else 0
        row = {"source": "a.b", "num_rows": self.bronze[load_id], "num_rescued": 0}
        return SimpleNamespace(collect=lambda: [row] if load_id else [])

    def run(self, *but: tuple[str, str]) -> Load:
        load = self.loads.run(but)
        assert load is not None
        return load


def test_a_topics_first_read_is_a_batch_a_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path, monkeypatch, "bpm", "gym")
    cluster.ends = {"bpm": 43, "gym": 7}
    since = cluster.loads.waits_since(())
    brought = []
    while not brought or cluster.loads.goes_on:
        [source] = cluster.run().sources
        assert not source.failure
        brought.append(source.rows)
        # It still waits since then, as long as it goes on.
        cluster.now += 60
        assert cluster.loads.waits_since(()) == (since if len(brought) < 5 else None)
    assert brought == [17, 10, 10, 10, 3]
    assert cluster.queries == [
        *(("bpm", True), ("gym", False)),
        *(("bpm", True), ("bpm", True), ("bpm", True), ("bpm", False)),
    ]
    assert cluster.loads.run() is None


def test_a_read_ends_although_more_comes_than_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path, monkeypatch, "bpm")
    cluster.ends = {"bpm": 35}
    goes_on = []
    for _ in range(5):
        cluster.run()
        goes_on.append(cluster.loads.goes_on)
        cluster.ends["bpm"] += 20
    assert goes_on == [True, True, True, False, True]


def test_topics_are_read_as_long_as_they_move_whatever_others_of_their_table_lack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(tmp_path, monkeypatch, "bpm", "gym", "workout")
    cluster.ends = {"bpm": 25, "workout": 1}
    cluster.failing = {"workout"}
    told = []
    failed: set[tuple[str, str]] = set()
    while load := cluster.loads.run(failed):
        failed |= load.failed
        told.append((load.sources[0].rows, bool(failed)))
        assert load.failures == [
            "a.b: no topic; topic workout at broker:9092: broken. What waits is kept there; the "
            "next round tries again."
        ]
    assert told == [(10, False), (10, False), (5, False), (0, True)]


def test_a_read_that_fails_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(tmp_path, monkeypatch, "bpm")
    cluster.ends = {"bpm": 43}
    cluster.run()
    assert cluster.loads.goes_on
    cluster.is_down = True
    assert cluster.run().failed == {("kafka", "a.b")}
    assert not cluster.loads.goes_on
    asked = cluster.asked
    assert cluster.loads.run({("kafka", "a.b")}) is None
    assert cluster.loads.waits_since({("kafka", "a.b")}) is None
    assert cluster.asked == asked
    cluster.is_down, cluster.failing = False, {"bpm"}
    assert cluster.run().failed == {("kafka", "a.b")}
    assert not cluster.loads.goes_on
    cluster.failing = set()
    assert [source.rows for source in cluster.run().sources] == [10]
    assert cluster.loads.goes_on


def test_settings_come_from_the_environment_and_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Kafka.setting() == ("no broker", "LAKEHOUSE_KAFKA_BOOTSTRAP_SERVERS=host:port")
    file = tmp_path / "env"
    file.write_text("LAKEHOUSE_KAFKA_SASL_PASSWORD='a\"b\\c'\nOTHER=1\n")
    monkeypatch.setenv("LAKEHOUSE_ENV_FILE", str(file))
    monkeypatch.setenv("LAKEHOUSE_KAFKA_BOOTSTRAP_SERVERS", "one:9092,two:9092")
    monkeypatch.setenv("LAKEHOUSE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("LAKEHOUSE_KAFKA_SASL_MECHANISM", "SCRAM-SHA-512")
    monkeypatch.setenv("LAKEHOUSE_KAFKA_SASL_USERNAME", "me")
    settings = load_kafka_settings()
    assert settings.of_client()["sasl.password"] == 'a"b\\c'
    assert settings.of_spark()["kafka.sasl.jaas.config"] == (
        "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="me" password="a\\"b\\\\c";'
    )
    assert 'a"b' not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SASL_JAAS_CONFIG", "com.sun.security.auth.module.JndiLoginModule", "is no setting"),
        ("SECURITY_PROTOCOL", "s3cret", "LAKEHOUSE_KAFKA_SECURITY_PROTOCOL: Input should be"),
        ("BOOTSTRAP_SERVERS", "host:1;other", "LAKEHOUSE_KAFKA_BOOTSTRAP_SERVERS: String should"),
    ],
)
def test_other_settings_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(f"LAKEHOUSE_KAFKA_{name}", value)
    with pytest.raises(LoadError, match=told) as refused:
        load_kafka_settings()
    assert value not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "sasl.username and sasl.password must be set"),
        ({"SECURITY_PROTOCOL": "SSL", "SSL_CA_LOCATION": "/none"}, "ssl.ca.location failed"),
    ],
)
def test_settings_that_do_not_fit_together_are_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], told: str
) -> None:
    settings |= {"BOOTSTRAP_SERVERS": "127.0.0.1:9"}
    for name, value in settings.items():
        monkeypatch.setenv(f"LAKEHOUSE_KAFKA_{name}", value)
    table = replace(TABLE, feeds={"kafka": ("bpm",)})
    with pytest.raises(LoadError, match=rf"{told}.* Correct LAKEHOUSE_KAFKA_") as refused:
        Kafka(MagicMock(), Home(tmp_path), [table], MagicMock())
    assert "\n" not in str(refused.value)


class Client:
    """A broker's client: each topic's partitions and their leaders, or why it is refused."""

    def __init__(self, topics: dict[str, dict[int, str | None] | int]) -> None:
        self.described = topics

    def describe_topics(self, names: object, **_: object) -> dict[str, Future[Any]]:
        return {name: self.answer(what) for name, what in self.described.items()}

    def answer(self, what: dict[int, str | None] | int) -> Future[Any]:
        future: Future[Any] = Future()
        if isinstance(what, int):
            future.set_exception(KafkaException(KafkaError(what)))
        else:
            partitions = [SimpleNamespace(id=id_, leader=of) for id_, of in what.items()]
            future.set_result(SimpleNamespace(topic_id="id", partitions=partitions))
        return future

    def list_offsets(self, asked: dict[Any, Any], **_: object) -> dict[Any, Future[Any]]:
        answers: dict[Any, Future[Any]] = {}
        for place in asked:
            answers[place] = Future()
            answers[place].set_result(SimpleNamespace(offset=3))
        return answers


def test_a_topic_that_cannot_be_read_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    topics: dict[str, dict[int, str | None] | int] = {
        "bpm": {0: "one"},
        "gym": {0: "one", 1: None},
        "workout": KafkaError.TOPIC_EXCEPTION,
        "user_info": KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
    monkeypatch.setattr(kafka, "AdminClient", lambda *_, **__: Client(topics))
    broker = Broker(KafkaSettings(bootstrap_servers="broker:9092"))
    found = broker.topics(topics.keys())
    assert found["bpm"] == There("id", earliest={0: 3}, end={0: 3})
    assert found["gym"] == (
        "topic gym cannot be read at broker:9092: no broker leads partition 1. Start the one that "
        "does; the next round tries again."
    )
    for name in ("workout", "user_info"):
        assert str(found[name]).startswith(f"topic {name} cannot be read at broker:9092: Broker: ")
    topics["gym"] = KafkaError._TRANSPORT
    with pytest.raises(LoadError, match="Kafka at broker:9092 does not answer"):
        broker.topics(topics.keys())


def test_a_file_of_settings_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secrets"
    monkeypatch.setenv("LAKEHOUSE_ENV_FILE", str(file))
    for feed in (Kafka, PulledTables):
        with pytest.raises(LoadError, match=f"LAKEHOUSE_ENV_FILE={file}: No such file"):
            feed.setting()
    file.write_bytes(b"LAKEHOUSE_POSTGRES_SBIT='password=\xff'\n")
    with pytest.raises(LoadError, match=r"it is not UTF-8\. Correct or unset it"):
        PulledTables.setting()
    file.write_text("LAKEHOUSE_KAFKA_BOOTSTRAP_SERVER=host:9092\n")
    with pytest.raises(LoadError, match="LAKEHOUSE_KAFKA_BOOTSTRAP_SERVER is no setting"):
        Kafka.setting()
    file.write_text("LAKEHOUSE_POSTGRES_SBIT='host=${HERE}'\nexport OTHER=1\n")
    monkeypatch.setenv("HERE", "db")
    assert (PulledTables.setting() or "")[0] == "sbit"


@pytest.mark.parametrize("said", [{}, {"topics": []}, {"topics": "bpm"}, {"topics": ["a"], "x": 1}])
def test_a_declaration_names_topics(said: dict[str, object]) -> None:
    with pytest.raises(DeclarationError, match="allowed: topics, a list of names"):
        Kafka.declared(TABLE, said)
    with pytest.raises(DeclarationError, match="its columns are x"):
        Kafka.declared(TABLE, {"topics": ["a"]})


def test_the_projects_topics() -> None:
    tables = {table.full_name: table.feeds.get("kafka") for table in local.declared_tables()}
    assert tables["telecom.kafka_multiplex"] == ("connections",)
    assert tables["telecom.connections"] is None


def test_a_storys_messages_say_what_its_files_say(tmp_path: Path) -> None:
    sent: dict[str, list[object]] = {}

    def send(messages: object) -> None:
        for message in messages:  # type: ignore[attr-defined]
            sent.setdefault(message.topic, []).append(message)

    files = network.write(Home(tmp_path / "messages"), 3, minutes=2, send=send)
    as_files = network.write(Home(tmp_path / "files"), 3, minutes=2)
    assert {path.parts[-2] for path in files} == {
        "telecom.servers",
        "telecom.customers",
        "telecom.devices",
    }
    connections = [path for path in as_files if "telecom.connections" in path.parts]
    rows = [row for path in connections for row in _rows(path)]
    told = [json.loads(message.value) for message in sent["connections"]]  # type: ignore[attr-defined]
    assert sorted(rows, key=repr) == sorted(told, key=repr)
    wearables.write(Home(tmp_path / "messages"), 3, minutes=5, send=send)
    assert not list((tmp_path / "messages" / "inbox").glob("sbit.kafka*"))
    assert sent.keys() == {"connections", "user_info", "workout", "bpm"}
    [tombstone, *_] = [m for m in sent["user_info"] if m.value is None]  # type: ignore[attr-defined]
    assert tombstone.key.isdigit()  # type: ignore[attr-defined]


def _rows(path: Path) -> list[dict[str, object]]:
    import pyarrow.parquet as pq  # noqa: PLC0415

    rows = pq.read_table(path).to_pylist()
    return [row | {"event_at": row["event_at"].isoformat()} for row in rows]


def test_what_a_broker_does_not_take_is_told_by_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setattr(generators.kafka, "_SECONDS", 1)
    topics = ["gym", "bpm", "gym"]
    with pytest.raises(LoadError, match="has not taken 3 messages for bpm, gym: "):
        generators.kafka.sender()(Message(topic, None, b"{}", 0) for topic in topics)
