"""From the inbox to bronze on a real engine: exactly once, and the bad beside the good."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generators.network.tables import SCHEMAS
from ingestion import gate
from ingestion.loads import LoadError, only_ingestion
from ingestion.lock import LockedError
from lakehouse import local, reading
from tests.integration.conftest import House

HEADER = "mac_address,gym,login,logout\n"
HOSTILE_NAMES = [
    "_x.csv",
    "a:b.csv",
    "[x]{y}*?.csv",
    "with space and ü.csv",
    "n" * 255,
    "n" * 244,
    "it's.csv",
]


def logins(*rows: str) -> bytes:
    return (HEADER + "".join(f"{row}\n" for row in rows)).encode()


def rows_by_file(house: House, table: str = "sbit_gym_logins") -> dict[str, int]:
    return {
        row["_source_file"]: row["n"]
        for row in house.rows(
            f"select _source_file, count(*) as n from bronze.{table} group by _source_file"
        )
    }


def test_hostile_names_and_broken_files_stop_nobody(house: House) -> None:
    for number, name in enumerate(HOSTILE_NAMES):
        house.deliver("sbit.gym_logins", name, logins(f"02:00:00:00:00:01,1,{number},"))
    house.deliver("sbit.gym_logins", "sub/folder/x.csv", logins("02:00:00:00:00:01,1,77,"))
    house.deliver("sbit.gym_logins", "header.csv", b"gym,mac_address,login,logout\n1,2,3,4\n")
    whole = gzip.compress(b'{"topic": "bpm"}\n' * 1000)
    house.deliver("sbit.kafka_multiplex", "cut.json.gz", whole[:-20])
    house.deliver("sbit.kafka_multiplex", "picture.json", b"\x89PNG\r\n\x1a\n\xff\xfe")
    load = house.ingest()
    assert load is not None
    assert rows_by_file(house) == dict.fromkeys([*HOSTILE_NAMES, "sub/folder/x.csv"], 1)
    refused = {name: reason for source in load.sources for name, reason in source.quarantined}
    assert set(refused) == {"header.csv", "cut.json.gz", "picture.json"}
    quarantine = house.settings.paths.quarantine
    assert len(list(quarantine.rglob("*.reason.txt"))) == 3
    assert not any(path.is_file() for path in house.settings.paths.inbox.rglob("*"))


def test_bad_lines_enter_bronze_raw(house: House) -> None:
    deep = '{"topic":' + "[" * 5000 + "]" * 5000 + "}"
    lines = [
        '{"topic": "bpm", ',
        "not json",
        deep,
        '{"topic": "bpm", "extra": 1}',
        "[1]",
        '{"topic": "a", "topic": "b"}',
    ]
    house.deliver("sbit.kafka_multiplex", "bad.json", "\n".join(lines).encode())
    too_many = ",".join(["x"] * 19_000)
    csv_lines = ["a,b", "a,b,c,d,e", '"unclosed,1,2,3', "nul\0,1,2,3", too_many]
    house.deliver("sbit.gym_logins", "bad.csv", logins(*csv_lines, "02:00:00:00:00:01,1,99,"))
    load = house.ingest()
    assert load is not None
    assert [source.failure for source in load.sources] == [None, None]
    raw = house.rows("select _raw from bronze.sbit_kafka_multiplex where _source_file = 'bad.json'")
    assert sorted(row["_raw"] for row in raw) == sorted(lines)
    counted = rows_by_file(house)["bad.csv"]
    assert counted == len(csv_lines) + 1
    raw = house.rows(
        "select _raw from bronze.sbit_gym_logins "
        "where _source_file = 'bad.csv' and _raw is not null"
    )
    assert {"a,b", "a,b,c,d,e", too_many} <= {row["_raw"] for row in raw}


def test_every_file_counts_once_whatever_it_is_called(house: House) -> None:
    content = logins("02:00:00:00:00:02,2,100,", "02:00:00:00:00:02,2,200,")
    house.deliver("sbit.gym_logins", "one.csv", content)
    house.deliver("sbit.gym_logins", "two.csv", content)
    house.ingest()
    house.deliver("sbit.gym_logins", "three.csv", content)
    load = house.ingest()
    assert load is not None
    assert load.sources[0].duplicates == 1
    assert house.value("select count(*) from bronze.sbit_gym_logins where gym = '2'") == 2


def test_a_refusal_for_its_name_makes_no_file_unknown(house: House) -> None:
    content = logins("02:00:00:00:00:02,22,100,")
    for name in ("three times.csv", "three times.csv.gz", "three more times.csv"):
        house.deliver("sbit.gym_logins", name, content)
        load = house.ingest()
        assert load is not None
        assert load.failures == []
    assert house.value("select count(*) from bronze.sbit_gym_logins where gym = '22'") == 1


def test_all_rows_of_a_file_are_in_bronze(house: House) -> None:
    """G1: per file, the rows that the gate counted are the rows that bronze holds."""
    counted = {
        row["sha256"]: row["num_rows"]
        for row in house.rows("select sha256, num_rows from audit.files where status = 'landed'")
    }
    held = {
        row["_source_sha256"]: row["n"]
        for table in ("sbit_gym_logins", "sbit_kafka_multiplex")
        for row in house.rows(
            f"select _source_sha256, count(*) as n from bronze.{table} group by _source_sha256"
        )
    }
    assert held == counted


def test_a_kill_between_bronze_and_checkpoint_doubles_nothing(house: House) -> None:
    house.deliver("sbit.gym_logins", "killed.csv", logins("02:00:00:00:00:03,3,100,"))
    house.ingest()
    house.kill_engine()
    house.lose_commit("sbit.gym_logins")
    house.deliver("sbit.gym_logins", "next.csv", logins("02:00:00:00:00:03,3,200,"))
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins where gym = '3'") == 2


def test_a_load_is_closed_after_all_its_sources(house: House) -> None:
    rows = house.rows("select * from audit.loads order by load_id, recorded_at")
    loads = sorted({row["load_id"] for row in rows})
    assert loads == list(range(1, len(loads) + 1))
    for load_id in loads:
        statuses = [row["status"] for row in rows if row["load_id"] == load_id]
        assert statuses.count("closed") == 1
        assert statuses.count("finished") == len(statuses) - 1


def crash_before_the_move(house: House) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingestion.loads.land", fail)
        with pytest.raises(KeyboardInterrupt):
            house.ingest()


def test_a_crash_after_the_files_were_written_down_is_made_up_for(house: House) -> None:
    """The fate of a file is recorded before it is moved: here the move does not come about."""
    house.deliver("sbit.gym_logins", "moved.csv", logins("02:00:00:00:00:04,4,100,"))
    crash_before_the_move(house)
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins where gym = '4'") == 1


def test_a_file_that_went_away_in_a_crash_may_come_later(house: House) -> None:
    content = logins("02:00:00:00:00:04,40,100,")
    house.deliver("sbit.gym_logins", "late.csv", content)
    crash_before_the_move(house)
    (house.settings.paths.inbox / "sbit.gym_logins" / "late.csv").unlink()
    house.deliver("sbit.gym_logins", "other.csv", logins("02:00:00:00:00:04,41,100,"))
    house.ingest()
    house.deliver("sbit.gym_logins", "late.csv", content)
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins where gym = '40'") == 1


def test_what_bronze_has_is_forgotten_and_known_all_the_same(house: House) -> None:
    source = "sbit.gym_logins"
    content = logins("02:00:00:00:00:06,6,100,")
    house.deliver(source, "first.csv", content)
    house.ingest()
    before = house.value("select count(*) from bronze.sbit_gym_logins")
    num_files = len(files_below(house.settings.paths.landing))
    assert house.forget_files() == num_files
    assert not files_below(house.settings.paths.landing)
    assert len(files_below(house.settings.paths.archive)) == num_files
    house.deliver(source, "again.csv", content)
    house.deliver(source, "second.csv", logins("02:00:00:00:00:06,6,200,"))
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before + 1
    # A crash of a later load does not make them unknown.
    house.forget_files()
    house.deliver(source, "third.csv", logins("02:00:00:00:00:06,6,300,"))
    crash_before_the_move(house)
    house.deliver(source, "again.csv", content)
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before + 2


def test_a_crash_while_files_are_forgotten_is_made_up_for(house: House) -> None:
    source = "sbit.gym_logins"
    house.forget_files()
    before = house.value("select count(*) from bronze.sbit_gym_logins")
    checkpoint = house.settings.paths.checkpoints / source
    forgotten = checkpoint / "forgotten"
    saved = forgotten.read_text()
    forgotten.rename(checkpoint / ".forgotten")
    (checkpoint / "offsets").mkdir()
    (checkpoint / "offsets" / "0").write_text("half of an old one")
    house.deliver(source, "fourth.csv", logins("02:00:00:00:00:06,6,400,"))
    load = house.ingest()
    assert load
    assert not load.failures
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before + 1
    # An empty checkpoint that knows less than bronze has is none to go on with.
    kept = checkpoint.with_name("kept")
    shutil.move(checkpoint, kept)
    checkpoint.mkdir()
    forgotten.write_text(saved)
    house.deliver(source, "fifth.csv", logins("02:00:00:00:00:06,6,500,"))
    load = house.ingest()
    assert load
    assert "is missing although" in load.failures[0]
    shutil.rmtree(checkpoint)
    shutil.move(kept, checkpoint)
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before + 2


def test_files_that_bronze_lacks_are_not_forgotten(house: House) -> None:
    source = "sbit.gym_logins"
    house.deliver(source, "lost.csv", logins("02:00:00:00:00:07,7,100,"))
    house.ingest()
    house.rows("delete from bronze.sbit_gym_logins where gym = '7'")
    with pytest.raises(LoadError, match="has no row of 1 files"):
        house.forget_files()
    [path] = [path for path in files_below(house.settings.paths.landing) if "lost" in path.name]
    path.unlink()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_nothing_new_opens_no_load(house: House) -> None:
    assert house.ingest() is None


def test_a_second_ingestion_refuses_and_names_the_first(house: House) -> None:
    with (
        only_ingestion(house.settings.paths),
        pytest.raises(LockedError, match=f"Process {os.getpid()} ingests"),
        only_ingestion(house.settings.paths),
    ):
        pytest.fail("the second one was let in")


def test_a_lost_checkpoint_is_refused_not_taken_in_twice(house: House) -> None:
    checkpoint = house.settings.paths.checkpoints / "sbit.gym_logins"
    saved = checkpoint.with_name("saved")
    before = house.value("select count(*) from bronze.sbit_gym_logins")
    shutil.move(checkpoint, saved)
    house.deliver("sbit.gym_logins", "later.csv", logins("02:00:00:00:00:05,5,100,"))
    load = house.ingest()
    assert load is not None
    assert "is missing although" in (load.sources[0].failure or "")
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before
    shutil.rmtree(checkpoint, ignore_errors=True)
    shutil.move(saved, checkpoint)
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before + 1


CONNECTIONS = "telecom.connections"


def connection(event_id: int, **how: object) -> bytes:
    row = {
        "event_id": event_id,
        "session_id": event_id,
        "device_id": 1,
        "server_id": 1,
        "event_type": "usage",
        "event_at": datetime(2026, 3, 2, tzinfo=UTC),
        "asked_mbps": 1.0,
        "received_mbps": 1.0,
        "bytes": 1,
    }
    buffer = BytesIO()
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMAS[CONNECTIONS]), buffer, **how)
    return buffer.getvalue()


def unreadable(event_id: int) -> bytes:
    """A file that pyarrow reads and Spark does not."""
    split = {"asked_mbps": "BYTE_STREAM_SPLIT"}
    return connection(event_id, use_dictionary=False, column_encoding=split)


@pytest.fixture
def blind_gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """A gate that does not know what the engine cannot read."""
    monkeypatch.setattr(gate, "_ENCODINGS", {*gate._ENCODINGS, "BYTE_STREAM_SPLIT"})
    with monkeypatch.context() as patch:
        yield patch


def ids(house: House) -> list[int]:
    rows = house.rows("select event_id from bronze.telecom_connections order by event_id")
    return [row["event_id"] for row in rows]


def test_what_the_engine_cannot_read_is_set_aside_in_the_same_round(
    house: House, blind_gate: pytest.MonkeyPatch
) -> None:
    house.deliver(CONNECTIONS, "before.parquet", connection(1))
    house.deliver(CONNECTIONS, "broken one.parquet", unreadable(2))
    house.deliver(CONNECTIONS, "broken two.parquet", unreadable(3))
    house.deliver(CONNECTIONS, "after.parquet", connection(4))
    load = house.ingest()
    assert load is not None
    assert load.failures == []
    [source] = load.sources
    assert (source.landed, source.rows) == (2, 2)
    assert dict(source.quarantined) == dict.fromkeys(
        ("broken one.parquet", "broken two.parquet"),
        "the engine cannot read it: Unsupported encoding: BYTE_STREAM_SPLIT",
    )
    assert ids(house) == [1, 4]
    kept = files_below(house.settings.paths.quarantine / CONNECTIONS)
    assert {path.read_bytes() for path in kept} >= {unreadable(2), unreadable(3)}
    # It is no duplicate of what was taken in, under its name neither, and a good file goes in.
    for name, number in (("again.parquet", 5), ("broken one.parquet", 6)):
        house.deliver(CONNECTIONS, name, unreadable(2))
        house.deliver(CONNECTIONS, f"next {number}.parquet", connection(number))
        load = house.ingest()
        assert load is not None
        assert load.failures == []
        assert [refused for refused, _ in load.sources[0].quarantined] == [name]
        assert ids(house) == [1, 4, *range(5, number + 1)]


def test_a_batch_of_nothing_but_what_the_engine_cannot_read_ends_well(
    house: House, blind_gate: pytest.MonkeyPatch
) -> None:
    before = ids(house)
    house.deliver(CONNECTIONS, "alone one.parquet", unreadable(90))
    house.deliver(CONNECTIONS, "alone two.parquet", unreadable(91))
    load = house.ingest()
    assert load is not None
    assert load.failures == []
    [source] = load.sources
    assert (source.landed, source.rows, len(source.quarantined)) == (0, 0, 2)
    house.deliver(CONNECTIONS, "after them.parquet", connection(92))
    house.ingest()
    assert ids(house) == [*before, 92]


KILLED = {
    "while it looks for the file": "unreadable_files",
    "before the file is moved": "quarantine",
    "after the file is moved": "append",
    "before the checkpoint": "",
}


@pytest.mark.parametrize("moment", KILLED)
def test_a_kill_while_a_file_is_set_aside_is_made_up_for(
    house: House, blind_gate: pytest.MonkeyPatch, moment: str
) -> None:
    number = 100 + 10 * list(KILLED).index(moment)
    before = ids(house)
    house.deliver(CONNECTIONS, f"good {number}.parquet", connection(number))
    house.deliver(CONNECTIONS, f"bad {number}.parquet", unreadable(number + 1))
    if killed := KILLED[moment]:
        calls = iter([True, False])
        real = getattr(__import__("ingestion.loads", fromlist=[killed]), killed)

        def fail(*arguments: object) -> object:
            if killed == "append" and next(calls):  # the stream that fails by itself
                return real(*arguments)
            raise KeyboardInterrupt

        with blind_gate.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(f"ingestion.loads.{killed}", fail)
            house.ingest()
    else:
        house.ingest()
        house.lose_commit(CONNECTIONS)
    house.deliver(CONNECTIONS, f"later {number}.parquet", connection(number + 2))
    load = house.ingest()
    assert load is not None
    assert load.failures == []
    assert load.sources[0].landed == 1
    assert ids(house) == [*before, number, number + 2]
    kept = files_below(house.settings.paths.quarantine / CONNECTIONS)
    assert [path for path in kept if path.read_bytes() == unreadable(number + 1)]


def test_where_the_engine_reads_nothing_no_file_is_to_blame(
    house: House, blind_gate: pytest.MonkeyPatch
) -> None:
    def broken(_: object, folder: Path) -> Path:
        (folder / "another").write_bytes(b"no Parquet")
        return folder / "another"

    before = ids(house)
    house.deliver(CONNECTIONS, "kept.parquet", unreadable(200))
    house.deliver(CONNECTIONS, "waits.parquet", connection(201))
    with blind_gate.context() as patch:
        patch.setattr("ingestion.feeds.files._readable_file", broken)
        load = house.ingest()
    assert load is not None
    assert load.sources[0].quarantined == []
    [failure] = load.failures
    assert "kept.parquet: Unsupported encoding: BYTE_STREAM_SPLIT" in failure
    assert "the next round tries again" in failure
    assert ids(house) == before
    [told] = failing(house)
    assert told["source"] == CONNECTIONS
    assert told["failure"] == failure.removeprefix(f"{CONNECTIONS}: ")
    assert told["since"] is not None
    house.ingest()
    assert ids(house) == [*before, 201]
    assert failing(house) == []


def failing(house: House) -> list[dict[str, Any]]:
    spark = local.session(house.settings)
    return reading.status(spark, house.settings.paths, local.declared_tables())["failing"]
