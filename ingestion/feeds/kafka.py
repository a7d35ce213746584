"""Kafka topics, by Spark's own source: each topic a stream with a checkpoint of its own.

    topic --a batch a load--> bronze     checkpoints/<source>.<table>.kafka/<topic>

A message becomes the row that its line in a file would be; where its key or value is not UTF-8, its
bytes are kept. What has been read is the checkpoint's to know; the broker is asked what there is.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from confluent_kafka import IsolationLevel, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the field's name for it
from pyspark.sql.streaming.query import StreamingQuery

from ingestion.bronze import append, end
from ingestion.checkpoint import begin_anew, is_begun, note_of
from ingestion.declaration import DeclarationError, SourceTable
from ingestion.faults import LoadError, cause_of, first_line
from ingestion.feed import Feed, SoFar, SourceLoad, settings_of_file
from ingestion.home import Home
from ingestion.stored import Place

_PREFIX = "LAKEHOUSE_KAFKA_"
# How often the broker is asked what is new, and how long it may take to answer.
_LOOK_SECONDS = 0.2
_ANSWER_SECONDS = 5.0
# How long a broker may be silent while it is read from, in milliseconds.
_SILENCE_MS = 30_000
# The messages of one batch, some seconds of work; a topic's first read has many, a load each.
_BATCH_MESSAGES = 500_000
_COLUMNS = ("key", "value", "topic", "partition", "offset", "timestamp")
_OFFSETS = {
    "earliest": OffsetSpec.earliest(),  # type: ignore[no-untyped-call]
    "end": OffsetSpec.latest(),  # type: ignore[no-untyped-call]
}

Offsets = dict[int, int]


class KafkaSettings(BaseSettings):
    """Where the broker is: `LAKEHOUSE_KAFKA_<FIELD>`, or lines of the file LAKEHOUSE_ENV_FILE.

    There are no other options: some of them load code.

    Attributes:
        bootstrap_servers: `host:port`, several with commas; None: no topic is read.
        ssl_ca_location: A file of certificates (PEM) that the broker's is checked against.
    """

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, extra="ignore")

    bootstrap_servers: str | None = Field(default=None, pattern=r"^[\w.\-\[\]:,]+$")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str = ""
    sasl_password: SecretStr = SecretStr("")
    ssl_ca_location: Path | None = None

    def of_client(self) -> dict[str, Any]:
        """The options of librdkafka."""
        options: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
        }
        if self.security_protocol.startswith("SASL"):
            options["sasl.mechanism"] = self.sasl_mechanism
            options["sasl.username"] = self.sasl_username
            options["sasl.password"] = self.sasl_password.get_secret_value()
        if self.ssl_ca_location:
            options["ssl.ca.location"] = str(self.ssl_ca_location)
        return options

    def of_spark(self) -> dict[str, str]:
        """The options of Spark's source."""
        options = {
            "bootstrap.servers": self.bootstrap_servers or "",
            "security.protocol": self.security_protocol,
            "isolation.level": "read_committed",
            "request.timeout.ms": str(_SILENCE_MS),
            "default.api.timeout.ms": str(_SILENCE_MS),
        }
        if self.security_protocol.startswith("SASL"):
            of = "plain.Plain" if self.sasl_mechanism == "PLAIN" else "scram.Scram"
            options["sasl.mechanism"] = self.sasl_mechanism
            options["sasl.jaas.config"] = (
                f"org.apache.kafka.common.security.{of}LoginModule required "
                f"username={_quoted(self.sasl_username)} "
                f"password={_quoted(self.sasl_password.get_secret_value())};"
            )
        if self.ssl_ca_location:
            options["ssl.truststore.type"] = "PEM"
            options["ssl.truststore.location"] = str(self.ssl_ca_location)
        return {f"kafka.{name}": value for name, value in options.items()}


def load_kafka_settings() -> KafkaSettings:
    """Reads the settings.

    Raises:
        LoadError: One is no option, or has a value that it cannot have; or the file cannot be read.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in KafkaSettings.model_fields}
    for name in [*os.environ, *settings_of_file()]:
        if name.startswith(_PREFIX) and name not in known:
            raise LoadError(f"{name} is no setting. Known: {', '.join(sorted(known))}")
    try:
        return KafkaSettings(_env_file=os.environ.get("LAKEHOUSE_ENV_FILE"))  # type: ignore[call-arg] # pydantic-settings' own
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        name = _PREFIX + str(first["loc"][0]).upper()
        raise LoadError(f"{name}: {first['msg']}. Correct or unset it.") from None


@dataclass(frozen=True)
class Topic:
    """A declared topic and its memory.

    Attributes:
        table: The declared table that its messages belong to.
        name: The topic.
        checkpoint: What has been read of it.
    """

    table: SourceTable
    name: str
    checkpoint: Place

    def note(self) -> dict[str, Any]:
        """The topic's id and the offsets that the checkpoint began with."""
        note: dict[str, Any] = json.loads(note_of(self.checkpoint) or "{}")
        return note

    def is_under_way(self) -> bool:
        """Whether a batch has been planned: until then its stream may begin anywhere."""
        return is_begun(self.checkpoint) and bool(_numbers(self.checkpoint / "offsets"))

    def read(self) -> Offsets:
        """The first offset of each partition that has not been read yet; none before the first."""
        starting = {int(key): offset for key, offset in self.note().get("offsets", {}).items()}
        if not is_begun(self.checkpoint):
            return starting
        commits = _numbers(self.checkpoint / "commits")
        for number in sorted(commits & _numbers(self.checkpoint / "offsets"), reverse=True):
            for line in (self.checkpoint / "offsets" / str(number)).read_text().splitlines():
                with suppress(ValueError):
                    offsets = json.loads(line)
                    if isinstance(offsets, dict) and self.name in offsets:
                        return {int(key): value for key, value in offsets[self.name].items()}
        return starting


@dataclass(frozen=True)
class There:
    """What a broker has of a topic: its id and, by partition, the first and the next offset.

    Beside it stands what has been read (`Topic.read`), which is files to look through.
    """

    topic_id: str
    earliest: Offsets
    end: Offsets

    def waiting(self, read: Offsets) -> int:
        """How many offsets there are that have not been read; aborted messages are among them."""
        return sum(
            max(0, end - read.get(partition, self.earliest[partition]))
            for partition, end in self.end.items()
        )

    def lost(self, topic: Topic, read: Offsets) -> str | None:
        """What is gone that has not been read, as text; None where nothing is."""
        known = topic.note().get("topic_id")
        if known and known != self.topic_id:
            return f"topic {topic.name} has been deleted and made anew"
        gone = []
        for partition, offset in read.items():
            if partition not in self.end:
                gone.append(f"partition {partition}")
            elif offset < self.earliest[partition]:
                gone.append(f"partition {partition}: {offset} to {self.earliest[partition] - 1}")
            elif offset > self.end[partition]:
                gone.append(f"partition {partition}: {self.end[partition]} to {offset - 1}")
        # A partition is new where others have been read; all of it was to come.
        new = sorted(self.earliest.keys() - read.keys()) if read else ()
        gone += [
            f"partition {partition}: 0 to {self.earliest[partition] - 1}"
            for partition in new
            if self.earliest[partition]
        ]
        return f"topic {topic.name} has lost offsets, {'; '.join(gone)}" if gone else None

    def going_on(self, topic: Topic) -> str:
        """The note of a checkpoint that goes on with what is still there."""
        is_same = topic.note().get("topic_id") in {None, self.topic_id}
        read = topic.read() if is_same else {}
        offsets = {
            partition: offset
            if earliest <= (offset := read.get(partition, earliest)) <= self.end[partition]
            else earliest
            for partition, earliest in self.earliest.items()
        }
        return json.dumps({"topic_id": self.topic_id, "offsets": offsets})


class Broker:
    """Tells what there is, without reading it.

    Args:
        settings: Where it is.

    Raises:
        LoadError: The settings do not fit together.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self.address = settings.bootstrap_servers
        quiet = logging.getLogger("librdkafka")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        try:
            self._client = AdminClient(settings.of_client(), logger=quiet)
        except KafkaException as error:
            given = sorted(settings.model_fields_set)
            names = ", ".join(f"{_PREFIX}{name.upper()}" for name in given)
            raise LoadError(f"Kafka: {_cause(error)}. Correct {names}.") from None

    def topics(self, names: Collection[str]) -> dict[str, There | str]:
        """What there is of each topic, or why it cannot be told.

        Raises:
            LoadError: The broker cannot be reached, or does not answer.
        """
        try:
            described = self._client.describe_topics(
                TopicCollection(sorted(names)), request_timeout=_ANSWER_SECONDS
            )
            return {name: self._looked_at(name, future) for name, future in described.items()}
        except (KafkaException, TimeoutError) as error:
            raise LoadError(
                f"Kafka at {self.address} does not answer: {_cause(error)}. Nothing is lost; start "
                f"it, or correct {_PREFIX}BOOTSTRAP_SERVERS. The next round tries again."
            ) from None

    def _looked_at(self, name: str, future: Future[Any]) -> There | str:
        try:
            return self._there(name, future)
        except KafkaException as error:
            if error.args[0].code() < 0:  # the client's own: nobody has answered
                raise
            return (
                f"topic {name} cannot be read at {self.address}: {_cause(error)}. Create it, or "
                "give the right to read it; the next round tries again."
            )

    def _there(self, name: str, future: Future[Any]) -> There | str:
        topic = future.result(_ANSWER_SECONDS)
        # To ask for the offsets of such a one would wait for all the time there is.
        if alone := [str(one.id) for one in topic.partitions if one.leader is None]:
            return (
                f"topic {name} cannot be read at {self.address}: no broker leads partition "
                f"{', '.join(alone)}. Start the one that does; the next round tries again."
            )
        offsets = {}
        for edge, spec in _OFFSETS.items():
            asked = {TopicPartition(name, partition.id): spec for partition in topic.partitions}
            answers = self._client.list_offsets(
                asked,
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=_ANSWER_SECONDS,
            )
            offsets[edge] = {
                place.partition: answer.result(_ANSWER_SECONDS).offset
                for place, answer in answers.items()
            }
        return There(str(topic.topic_id), **offsets)


class Kafka(Feed):
    """Messages of the topics that `landing.kafka.topics` names."""

    def __init__(
        self, spark: SparkSession, home: Home, tables: Sequence[SourceTable], so_far: SoFar
    ) -> None:
        super().__init__(spark, home, tables, so_far)
        self._settings = load_kafka_settings()
        self._topics = list(_topics(home, tables)) if self._settings.bootstrap_servers else []
        self._broker = Broker(self._settings) if self._topics else None
        # Of the last look, the topics that have something to be read, what is there and how much.
        self._news: dict[Topic, tuple[There, int]] = {}
        # Of topics that a load has begun to read, how many of the messages that waited then remain.
        self._left: dict[Topic, int] = {}
        self._looked_at = 0.0
        self._waits_since: float | None = None

    @classmethod
    def declared(cls, table: SourceTable, said: dict[str, Any]) -> tuple[str, ...]:
        """The names of the topics; the table has the columns of a message."""
        topics = said.get("topics")
        if (
            said.keys() != {"topics"}
            or not isinstance(topics, list)
            or not topics
            or not all(isinstance(topic, str) and topic for topic in topics)
        ):
            raise DeclarationError(
                f"table {table.full_name}: kafka is {said!r}; allowed: topics, a list of names"
            )
        names = sorted(column.name for column in table.columns)
        technical = {column.name for column in table.technical}
        if names != sorted(_COLUMNS) or not {"_headers", "_bytes"} <= technical:
            raise DeclarationError(
                f"table {table.full_name}: its columns are {', '.join(names)}; from Kafka come "
                f"{', '.join(_COLUMNS)}, and _headers and _bytes"
            )
        return tuple(topics)

    @classmethod
    def setting(cls) -> tuple[str, str] | None:
        """The broker's address."""
        address = load_kafka_settings().bootstrap_servers
        return address or "no broker", f"{_PREFIX}BOOTSTRAP_SERVERS=host:port"

    @classmethod
    def standing(cls, home: Home, tables: Sequence[SourceTable]) -> list[dict[str, Any]]:
        """Per partition: the first offset that is not read yet, the next to be written, the lag."""
        settings = load_kafka_settings()
        topics = list(_topics(home, tables)) if settings.bootstrap_servers else []
        if not topics:
            return []
        try:
            there = Broker(settings).topics({topic.name for topic in topics})
        except LoadError as error:
            there = {topic.name: str(error) for topic in topics}
        records = []
        for topic in topics:
            read, found = topic.read(), there[topic.name]
            known = found.end if isinstance(found, There) else read
            note = found if isinstance(found, str) else found.lost(topic, read)
            earliest = found.earliest if isinstance(found, There) else {}
            for partition in sorted(known | read):
                start = read.get(partition, earliest.get(partition))
                end = known.get(partition) if isinstance(found, There) else None
                records.append(
                    {
                        "source": topic.table.full_name,
                        "topic": topic.name,
                        "partition": partition,
                        "read": start,
                        "end": end,
                        "lag": None if start is None or end is None else end - start,
                        "note": note,
                    }
                )
        return records

    @property
    def goes_on(self) -> bool:
        """Whether a topic is not read to where it ended when that was begun."""
        return any(topic in self._news for topic in self._left)

    def waits_since(self, but: Collection[str]) -> float | None:
        """Since when there are messages; a broker that does not answer is news, too."""
        if not self._broker or all(topic.table.full_name in but for topic in self._topics):
            return None
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = now
            is_news = bool(self.news(but))
            self._waits_since = (self._waits_since or time.time()) if is_news else None
        return self._waits_since

    def news(self, but: Collection[str]) -> dict[str, str | None]:
        """The sources with messages that have not been read, or with a topic that is in trouble."""
        topics = [topic for topic in self._topics if topic.table.full_name not in but]
        self._news = {}
        if not self._broker or not topics:
            return {}
        try:
            there = self._broker.topics({topic.name for topic in topics})
        except LoadError as error:
            return {topic.table.full_name: str(error) for topic in topics}
        news: dict[str, str | None] = {}
        for topic in topics:
            name, found, read = topic.table.full_name, there[topic.name], topic.read()
            if fault := self._fault(topic, found, read):
                news[name] = "; ".join(filter(None, (news.get(name), fault)))
            elif isinstance(found, There) and (waiting := found.waiting(read)):
                self._news[topic] = found, waiting
                news.setdefault(name, None)
        return news

    def begin(self, load_id: int, loads: Mapping[str, SourceLoad]) -> set[str]:
        """Counts the offsets that have not been read; how many messages they are, is not known."""
        for topic, (_, waiting) in self._news.items():
            loads[topic.table.full_name].waiting += waiting
            loads[topic.table.full_name].is_exact = False
        return set()

    def take_in(self, load_id: int, loads: Mapping[str, SourceLoad]) -> None:
        """Runs the streams of the topics side by side, a batch each; each fails for itself.

        A read goes on with the next load until all is in that waited when it began.
        """
        queries: list[tuple[Topic, int, StreamingQuery]] = []
        for topic, (found, waiting) in self._news.items():
            is_more = waiting > _BATCH_MESSAGES
            try:
                rows = self._read(topic, found)
                query = append(rows, topic.table, topic.checkpoint, load_id, one_batch=is_more)
                queries.append((topic, waiting, query))
            except PySparkException as error:
                loads[topic.table.full_name].fail(self.name, self._told(topic, error))
        before, self._left = self._left, {}
        for topic, waiting, query in queries:
            load = loads[topic.table.full_name]
            try:
                if waiting > _BATCH_MESSAGES:
                    end(query)
                else:
                    query.awaitTermination()
            except PySparkException as error:
                load.fail(self.name, self._told(topic, error))
                continue
            load.moving.add(self.name)
            left = min(before.get(topic, waiting), waiting) - _BATCH_MESSAGES
            if left > 0:
                self._left[topic] = left
        if not self._left:
            self._waits_since = None

    def accept(self, source: str) -> list[str]:
        """Goes on with the offsets that are still there."""
        topics = [topic for topic in self._topics if topic.table.full_name == source]
        if not self._broker or not topics:
            return []
        lost = []
        there = self._broker.topics({topic.name for topic in topics})
        for topic in topics:
            found = there[topic.name]
            if isinstance(found, There) and (what := found.lost(topic, topic.read())):
                begin_anew(topic.checkpoint, found.going_on(topic))
                lost.append(what)
        return lost

    def _fault(self, topic: Topic, found: There | str, read: Offsets) -> str | None:
        if isinstance(found, str):
            return found
        lost = found.lost(topic, read)
        return lost and (
            f"{lost}: what was there is not read. Put it back, or go on without it: "
            f"lakehouse accept {topic.table.full_name}"
        )

    def _told(self, topic: Topic, error: PySparkException) -> str:
        return (
            f"topic {topic.name} at {self._settings.bootstrap_servers}: {cause_of(error)}. What "
            "waits is kept there; the next round tries again."
        )

    def _read(self, topic: Topic, found: There) -> DataFrame:
        """The messages that have not been read, as a stream of the table's rows."""
        if not topic.is_under_way():  # its first batch has to name all partitions that there are
            begin_anew(topic.checkpoint, found.going_on(topic))
        messages = (
            self.spark.readStream.format("kafka")
            .options(**self._settings.of_spark())
            .options(
                subscribe=topic.name,
                startingOffsets=json.dumps({topic.name: topic.note()["offsets"]}),
                failOnDataLoss="true",
                includeHeaders="true",
                maxOffsetsPerTrigger=str(_BATCH_MESSAGES),
            )
            .option("kafkaConsumer.pollTimeoutMs", str(_SILENCE_MS))
            .load()
        )
        return messages.select(*_message_columns())


def _message_columns() -> list[Column]:
    """A message as the line of a file would give it; see `models/staging/sbit`.

    Bytes that are no UTF-8: of the value in `_bytes`, of a key or a header as hexadecimal digits.
    """
    value = F.col("value").cast("string")
    is_text = F.is_valid_utf8(value)
    return [
        _text(F.col("key")).alias("key"),
        F.when(is_text, value).alias("value"),
        F.col("topic"),
        F.col("partition").cast("string"),
        F.col("offset").cast("string"),
        F.unix_millis("timestamp").cast("string").alias("timestamp"),
        F.when(~is_text, F.col("value")).alias("_bytes"),
        F.to_json(
            F.transform(
                "headers",
                lambda header: F.struct(
                    header.getField("key").alias("key"),
                    _text(header.getField("value")).alias("value"),
                ),
            )
        ).alias("_headers"),
        F.lit(None).cast("string").alias("_raw"),
        F.concat_ws("/", F.concat(F.lit("kafka:"), "topic"), "partition", "offset").alias(
            "_source_file"
        ),
        F.lit(None).cast("string").alias("_source_sha256"),
    ]


def _text(bytes_: Column) -> Column:
    text = bytes_.cast("string")
    return F.when(F.is_valid_utf8(text), text).otherwise(F.hex(bytes_))


def _topics(home: Home, tables: Sequence[SourceTable]) -> Iterator[Topic]:
    for table in tables:
        for name in table.feeds.get("kafka", ()):
            yield Topic(table, name, home.checkpoints / f"{table.full_name}.kafka" / name)


def _numbers(folder: Place) -> set[int]:
    names = (path.name for path in folder.iterdir()) if folder.exists() else ()
    return {int(name) for name in names if name.isdecimal()}


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_ANSWER_SECONDS:g} s"
    fault = error.args[0] if error.args else error
    return fault.str() if hasattr(fault, "str") else first_line(error)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
