"""Topics of a real broker: what comes, what stops a topic, and what is done about it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import pytest
from pyspark.sql.streaming.query import StreamingQuery

from ingestion import bronze
from ingestion.faults import LoadError
from ingestion.feed import SourceLoad, all_feeds
from ingestion.feeds import kafka
from ingestion.loads import Load
from lakehouse.engine import local
from tests.support.kafka import Broker, declared_topics
from tests.support.lakehouse import Lakehouse

MESSAGES = "sbit.kafka_multiplex"
ADDRESS = "LAKEHOUSE_KAFKA_BOOTSTRAP_SERVERS"


@pytest.fixture
def broker(kafka: Broker, lakehouse: Lakehouse) -> Broker:
    """The broker, up, with nothing that is not read yet."""
    load = lakehouse.ingest()
    assert load is None or not load.failures
    return kafka


def ingest(lakehouse: Lakehouse) -> Load:
    load = lakehouse.ingest()
    assert load is not None
    return load


def of_messages(load: Load) -> SourceLoad:
    [source] = [source for source in load.sources if source.source == MESSAGES]
    return source


def whole(load: Load) -> int:
    """The messages of a load in which nothing has failed."""
    assert load.failures == []
    rows = of_messages(load).rows
    assert rows is not None
    return rows


def fault(load: Load) -> str:
    failure = of_messages(load).failure
    assert failure is not None
    return failure


def reading(second: int) -> dict[str, bytes | None]:
    value = json.dumps({"device_id": 1, "time": 1678500000 + second, "heartrate": 60})
    return {"key": None, "value": value.encode()}


def seconds(lakehouse: Lakehouse) -> list[int]:
    """Of which second there is a reading in bronze, sorted."""
    rows = lakehouse.rows(
        "select cast(get_json_object(value, '$.time') as bigint) - 1678500000 as second "
        "from bronze.sbit_kafka_multiplex where topic = 'bpm' and value like '{%' order by second"
    )
    return [row["second"] for row in rows]


def lags(lakehouse: Lakehouse) -> dict[tuple[str, int], int]:
    records = all_feeds()["kafka"].standing(lakehouse.settings.paths, local.declared_tables())
    return {(record["topic"], record["partition"]): record["lag"] for record in records}


def test_a_message_is_kept_as_it_came(broker: Broker, lakehouse: Lakehouse) -> None:
    stamp = 1678500000123
    message = b'{"user_id": 1, "workout_id": 1, "session_id": 1, "action": "start", "timestamp": 1}'
    headers = [("trace", b"ab"), ("trace", None), ("raw", b"\xff\x00")]
    broker.send(
        "workout", [{"key": b"k", "value": message, "headers": headers, "timestamp": stamp}]
    )
    broker.send("user_info", [{"key": b"7", "value": None}])
    broker.send(
        "bpm", [{"key": b"\xff", "value": b"\xfe{}"}, {"key": None, "value": b"x" * 5_000_000}]
    )
    lag = lags(lakehouse)
    assert (lag["workout", 0], lag["user_info", 0], lag["bpm", 0], lag["gym", 0]) == (1, 1, 2, 0)
    assert whole(ingest(lakehouse)) == 4
    assert set(lags(lakehouse).values()) == {0}
    assert lakehouse.ingest() is None
    rows = lakehouse.rows(
        "select topic, partition, offset, key, length(value) as length, _headers, hex(_bytes) as "
        "bytes, _source_file, _source_sha256, _raw from bronze.sbit_kafka_multiplex "
        "order by topic, offset"
    )
    places = [(row.pop("_source_file"), row.pop("topic"), row.pop("offset")) for row in rows]
    assert places == [
        (f"kafka:{topic}/0/{offset}", topic, str(offset))
        for topic, offset in (("bpm", 0), ("bpm", 1), ("user_info", 0), ("workout", 0))
    ]
    nothing = {"_headers": None, "bytes": None, "_source_sha256": None, "_raw": None}
    at_all = {"partition": "0", **nothing}
    assert rows[0] == at_all | {"key": "FF", "length": None, "bytes": "FE7B7D"}
    assert rows[1] == at_all | {"key": None, "length": 5_000_000}
    assert rows[2] == at_all | {"key": "7", "length": None}
    kept = json.loads(rows[3].pop("_headers"))
    assert kept == [
        {"key": "trace", "value": "ab"},
        {"key": "trace"},
        {"key": "raw", "value": "FF00"},
    ]
    del at_all["_headers"]
    assert rows[3] == at_all | {"key": "k", "length": len(message)}
    [row] = lakehouse.rows(
        "select timestamp, value from bronze.sbit_kafka_multiplex where topic = 'workout'"
    )
    assert row == {"timestamp": str(stamp), "value": message.decode()}


def test_a_broker_that_is_down_is_waited_for(broker: Broker, lakehouse: Lakehouse) -> None:
    before = seconds(lakehouse)
    broker.send("bpm", [reading(1)])
    broker.stop()
    told = fault(ingest(lakehouse))
    assert "does not answer" in told
    assert ADDRESS in told
    # What comes by file goes on.
    lakehouse.deliver("sbit.gym_logins", "down.csv", b"mac_address,gym,login,logout\na,1,2,3\n")
    load = ingest(lakehouse)
    assert [source.rows for source in load.sources if source.source == "sbit.gym_logins"] == [1]
    broker.start()
    broker.send("bpm", [reading(2)])
    assert whole(ingest(lakehouse)) == 2
    assert seconds(lakehouse) == sorted([*before, 1, 2])


@pytest.mark.deep
def test_a_broker_that_dies_in_a_round_costs_nothing(broker: Broker, lakehouse: Lakehouse) -> None:
    before = len(seconds(lakehouse))
    broker.send("bpm", [reading(100 + number) for number in range(50)])
    killer = threading.Timer(1.0, broker.kill)
    killer.start()
    load = ingest(lakehouse)
    killer.join()
    broker.start()
    broker.send("bpm", [reading(200)])
    if load.failures:
        assert whole(ingest(lakehouse)) in (1, 51)
    else:
        whole(ingest(lakehouse))
    assert len(seconds(lakehouse)) == before + 51
    assert set(seconds(lakehouse)) >= {*range(100, 150), 200}


def test_a_round_that_is_killed_takes_nothing_in_twice(
    broker: Broker, lakehouse: Lakehouse
) -> None:
    broker.send("bpm", [reading(300)])
    ingest(lakehouse)
    lakehouse.lose_commit(f"{MESSAGES}.kafka/bpm")
    broker.send("bpm", [reading(301)])
    assert whole(ingest(lakehouse)) == 1
    assert [second for second in seconds(lakehouse) if 300 <= second < 400] == [300, 301]


def test_a_topics_first_read_leaves_room_for_files(
    broker: Broker, lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "_BATCH_MESSAGES", 10)
    broker.send("bpm", [reading(2000 + number) for number in range(50)])
    brought = []
    with lakehouse.loads() as loads:
        while not brought or loads.goes_on:
            load = loads.run()
            assert load is not None
            assert load.failures == []
            brought.append({source.source: source.rows for source in load.sources})
            if len(brought) == 1:
                visits = b"mac_address,gym,login,logout\nroom,1,2,3\n"
                lakehouse.deliver("sbit.gym_logins", "room.csv", visits)
        assert loads.run() is None
    ten = {MESSAGES: 10}
    assert brought == [ten, ten | {"sbit.gym_logins": 1}, ten, ten, ten]
    assert [second for second in seconds(lakehouse) if 2000 <= second < 3000] == [
        *range(2000, 2050)
    ]


def test_a_batch_that_is_stopped_anywhere_is_taken_in_once(
    broker: Broker, lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = [
        lambda query: bronze.end(query, 0.0),  # before it has planned its batch, or after
        lambda _: None,  # the client is gone; the engine goes on
        lambda query: bronze.end(query, 0.4),
    ]

    def stop(query: StreamingQuery) -> None:
        (ways.pop(0) if ways else bronze.end)(query)

    monkeypatch.setattr(kafka, "_BATCH_MESSAGES", 10)
    monkeypatch.setattr(kafka, "end", stop)
    broker.send("bpm", [reading(3000 + number) for number in range(75)])
    ingest(lakehouse)
    ingest(lakehouse)
    lakehouse.lose_commit(f"{MESSAGES}.kafka/bpm")
    while lakehouse.ingest():
        pass
    assert not ways
    assert [second for second in seconds(lakehouse) if second >= 3000] == [*range(3000, 3075)]


def test_what_is_not_committed_is_not_read(broker: Broker, lakehouse: Lakehouse) -> None:
    producer = broker.producer(**{"transactional.id": "test"})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce("bpm", **reading(400))
    producer.flush()
    assert lakehouse.ingest() is None  # nobody knows yet whether it will count
    producer.abort_transaction()
    producer.begin_transaction()
    producer.produce("bpm", **reading(401))
    producer.commit_transaction()
    assert whole(ingest(lakehouse)) == 1
    assert [second for second in seconds(lakehouse) if 400 <= second < 500] == [401]
    assert lakehouse.ingest() is None


def test_lost_offsets_stop_their_topic_until_they_are_accepted(
    broker: Broker, lakehouse: Lakehouse
) -> None:
    with pytest.raises(LoadError, match="nothing to accept"):
        lakehouse.accept(MESSAGES)
    broker.send("bpm", [reading(500), reading(501)])
    broker.send("workout", [{"value": b"{}"}])
    broker.delete_before("bpm", 1)
    load = ingest(lakehouse)
    assert "topic bpm has lost offsets, partition 0: " in fault(load)
    assert f"lakehouse accept {MESSAGES}" in fault(load)
    assert of_messages(load).rows == 1  # the other topic's
    assert 501 not in seconds(lakehouse)
    [lost] = lakehouse.accept(MESSAGES)
    assert lost in fault(load)
    rows = lakehouse.rows("select source, message from audit.loads where status = 'accepted'")
    assert rows == [{"source": MESSAGES, "message": lost}]
    assert whole(ingest(lakehouse)) == 1
    assert [second for second in seconds(lakehouse) if 500 <= second < 600] == [501]


@pytest.mark.deep
def test_a_topic_made_anew_is_not_taken_for_the_old_one(
    broker: Broker, lakehouse: Lakehouse
) -> None:
    read = len(seconds(lakehouse))
    broker.delete("bpm")
    assert "topic bpm cannot be read" in fault(ingest(lakehouse))
    broker.create("bpm")
    broker.send("bpm", [reading(600 + number) for number in range(read + 20)])
    assert "topic bpm has been deleted and made anew" in fault(ingest(lakehouse))
    lakehouse.accept(MESSAGES)
    assert whole(ingest(lakehouse)) == read + 20


@pytest.mark.deep
def test_a_new_partition_is_read_from_its_beginning(broker: Broker, lakehouse: Lakehouse) -> None:
    broker.add_partitions("workout", 3)
    broker.send("workout", [{"value": b"{}", "partition": partition} for partition in (2, 0, 2)])
    assert whole(ingest(lakehouse)) == 3


@pytest.mark.deep
def test_a_broker_that_does_not_answer_in_time_is_told(
    broker: Broker, lakehouse: Lakehouse
) -> None:
    broker.send("bpm", [reading(900)])
    broker.pause()
    told = fault(ingest(lakehouse))
    broker.go_on()
    assert "no answer within 5 s" in told or "does not answer" in told
    assert whole(ingest(lakehouse)) == 1


@pytest.mark.deep
def test_a_lost_checkpoint_is_read_from_the_beginning(broker: Broker, lakehouse: Lakehouse) -> None:
    """Twice in bronze is once in silver: a message is known by what it says."""
    before = set(seconds(lakehouse))
    shutil.rmtree(lakehouse.settings.paths.checkpoints / f"{MESSAGES}.kafka" / "bpm")
    load = ingest(lakehouse)
    assert not load.failures
    assert set(seconds(lakehouse)) == before


def test_no_password_is_written_anywhere(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "k4fk4-s3cret"  # noqa: S105 - of this broker alone
    broker = Broker(tmp_path / "broker", login=("reader", password))
    broker.start()
    try:
        broker.create(*declared_topics())
        broker.send("bpm", [reading(1000)])
        file = tmp_path / "secrets"
        file.write_text(f"{ADDRESS}={broker.address}\nLAKEHOUSE_KAFKA_SASL_PASSWORD={password}\n")
        monkeypatch.delenv(ADDRESS, raising=False)
        monkeypatch.setenv("LAKEHOUSE_ENV_FILE", str(file))
        monkeypatch.setenv("LAKEHOUSE_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
        monkeypatch.setenv("LAKEHOUSE_KAFKA_SASL_USERNAME", "reader")
        lakehouse.empty()
        assert whole(ingest(lakehouse)) == 1
        monkeypatch.setenv("LAKEHOUSE_KAFKA_SASL_USERNAME", "stranger")
        broker.send("bpm", [reading(1001)])
        assert "does not answer" in fault(ingest(lakehouse))
    finally:
        broker.kill()
    time.sleep(0.5)
    home = lakehouse.settings.paths.root
    holding = [
        path
        for path in home.rglob("*")
        if path.is_file() and password.encode() in path.read_bytes()
    ]
    assert holding == []
