"""From the inbox to bronze on a real engine: exactly once, and the bad beside the good."""

from __future__ import annotations

import gzip
import json
import os
import pkgutil
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import ingestion.feeds
from generators.network.tables import SCHEMAS
from ingestion import gate
from ingestion.bronze import create_tables
from ingestion.declaration import Column, Format, SourceTable
from ingestion.faults import LoadError
from ingestion.feed import SourceLoad, all_feeds
from ingestion.loads import Loads, only_ingestion
from ingestion.lock import LockedError
from lakehouse import history, reading
from lakehouse.engine import local
from tests.support.lakehouse import Lakehouse

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


def rows_by_file(lakehouse: Lakehouse, table: str = "sbit_gym_logins") -> dict[str, int]:
    return {
        row["_source_file"]: row["n"]
        for row in lakehouse.rows(
            f"select _source_file, count(*) as n from bronze.{table} group by _source_file"
        )
    }


def test_hostile_names_and_broken_files_stop_nobody(lakehouse: Lakehouse) -> None:
    for number, name in enumerate(HOSTILE_NAMES):
        lakehouse.deliver("sbit.gym_logins", name, logins(f"02:00:00:00:00:01,1,{number},"))
    lakehouse.deliver("sbit.gym_logins", "sub/folder/x.csv", logins("02:00:00:00:00:01,1,77,"))
    lakehouse.deliver("sbit.gym_logins", "header.csv", b"gym,login,logout\n1,2,3\n")
    whole = gzip.compress(b'{"topic": "bpm"}\n' * 1000)
    lakehouse.deliver("sbit.kafka_multiplex", "cut.json.gz", whole[:-20])
    lakehouse.deliver("sbit.kafka_multiplex", "picture.json", b"\x89PNG\r\n\x1a\n\xff\xfe")
    load = lakehouse.ingest()
    assert load is not None
    assert rows_by_file(lakehouse) == dict.fromkeys([*HOSTILE_NAMES, "sub/folder/x.csv"], 1)
    refused = {name: reason for source in load.sources for name, reason in source.quarantined}
    assert set(refused) == {"header.csv", "cut.json.gz", "picture.json"}
    quarantine = lakehouse.settings.paths.quarantine
    assert len(list(quarantine.rglob("*.reason.txt"))) == 3
    assert not any(path.is_file() for path in lakehouse.settings.paths.inbox.rglob("*"))


def test_bad_lines_enter_bronze_raw(lakehouse: Lakehouse) -> None:
    deep = '{"topic":' + "[" * 5000 + "]" * 5000 + "}"
    lines = [
        '{"topic": "bpm", ',
        "not json",
        deep,
        '{"topic": "bpm", "extra": 1}',
        "[1]",
        '{"topic": "a", "topic": "b"}',
    ]
    lakehouse.deliver("sbit.kafka_multiplex", "bad.json", "\n".join(lines).encode())
    too_many = ",".join(["x"] * 19_000)
    csv_lines = ["a,b", "a,b,c,d,e", '"unclosed,1,2,3', "nul\0,1,2,3", too_many]
    lakehouse.deliver("sbit.gym_logins", "bad.csv", logins(*csv_lines, "02:00:00:00:00:01,1,99,"))
    load = lakehouse.ingest()
    assert load is not None
    assert [source.failure for source in load.sources] == [None, None]
    raw = lakehouse.rows(
        "select _raw from bronze.sbit_kafka_multiplex where _source_file = 'bad.json'"
    )
    assert sorted(row["_raw"] for row in raw) == sorted(lines)
    counted = rows_by_file(lakehouse)["bad.csv"]
    assert counted == len(csv_lines) + 1
    raw = lakehouse.rows(
        "select _raw from bronze.sbit_gym_logins "
        "where _source_file = 'bad.csv' and _raw is not null"
    )
    assert {"a,b", "a,b,c,d,e", too_many} <= {row["_raw"] for row in raw}


def test_every_file_counts_once_whatever_it_is_called(lakehouse: Lakehouse) -> None:
    content = logins("02:00:00:00:00:02,2,100,", "02:00:00:00:00:02,2,200,")
    lakehouse.deliver("sbit.gym_logins", "one.csv", content)
    lakehouse.deliver("sbit.gym_logins", "two.csv", content)
    lakehouse.ingest()
    lakehouse.deliver("sbit.gym_logins", "three.csv", content)
    load = lakehouse.ingest()
    assert load is not None
    assert load.sources[0].duplicates == 1
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins where gym = '2'") == 2


def test_a_refusal_for_its_name_makes_no_file_unknown(lakehouse: Lakehouse) -> None:
    content = logins("02:00:00:00:00:02,22,100,")
    for name in ("three times.csv", "three times.csv.gz", "three more times.csv"):
        lakehouse.deliver("sbit.gym_logins", name, content)
        load = lakehouse.ingest()
        assert load is not None
        assert load.failures == []
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins where gym = '22'") == 1


def test_all_rows_of_a_file_are_in_bronze(lakehouse: Lakehouse) -> None:
    """G1: per file, the rows that the gate counted are the rows that bronze holds."""
    counted = {
        row["sha256"]: row["num_rows"]
        for row in lakehouse.rows(
            "select sha256, num_rows from audit.files where status = 'landed'"
        )
    }
    held = {
        row["_source_sha256"]: row["n"]
        for table in ("sbit_gym_logins", "sbit_kafka_multiplex")
        for row in lakehouse.rows(
            f"select _source_sha256, count(*) as n from bronze.{table} group by _source_sha256"
        )
    }
    assert held == counted


@pytest.mark.ends_engine
def test_a_kill_between_bronze_and_checkpoint_doubles_nothing(lakehouse: Lakehouse) -> None:
    lakehouse.deliver("sbit.gym_logins", "killed.csv", logins("02:00:00:00:00:03,3,100,"))
    lakehouse.ingest()
    lakehouse.kill_engine()
    lakehouse.lose_commit("sbit.gym_logins")
    lakehouse.deliver("sbit.gym_logins", "next.csv", logins("02:00:00:00:00:03,3,200,"))
    lakehouse.ingest()
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins where gym = '3'") == 2


def test_a_load_is_closed_after_all_its_sources(lakehouse: Lakehouse) -> None:
    rows = lakehouse.rows("select * from audit.loads order by load_id, recorded_at")
    loads = sorted({row["load_id"] for row in rows})
    assert loads == list(range(1, len(loads) + 1))
    for load_id in loads:
        statuses = [row["status"] for row in rows if row["load_id"] == load_id]
        assert statuses.count("closed") == 1
        assert statuses.count("finished") == len(statuses) - 1


def crash_before_the_move(lakehouse: Lakehouse) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingestion.feeds.files.land", fail)
        with pytest.raises(KeyboardInterrupt):
            lakehouse.ingest()


def test_a_crash_after_the_files_were_written_down_is_made_up_for(lakehouse: Lakehouse) -> None:
    """The fate of a file is recorded before it is moved: here the move does not come about."""
    lakehouse.deliver("sbit.gym_logins", "moved.csv", logins("02:00:00:00:00:04,4,100,"))
    crash_before_the_move(lakehouse)
    lakehouse.ingest()
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins where gym = '4'") == 1


@pytest.mark.deep
def test_a_file_that_went_away_in_a_crash_may_come_later(lakehouse: Lakehouse) -> None:
    content = logins("02:00:00:00:00:04,40,100,")
    lakehouse.deliver("sbit.gym_logins", "late.csv", content)
    crash_before_the_move(lakehouse)
    (lakehouse.settings.paths.inbox / "sbit.gym_logins" / "late.csv").unlink()
    lakehouse.deliver("sbit.gym_logins", "other.csv", logins("02:00:00:00:00:04,41,100,"))
    lakehouse.ingest()
    lakehouse.deliver("sbit.gym_logins", "late.csv", content)
    lakehouse.ingest()
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins where gym = '40'") == 1


def test_what_bronze_has_is_forgotten_and_known_all_the_same(lakehouse: Lakehouse) -> None:
    source = "sbit.gym_logins"
    content = logins("02:00:00:00:00:06,6,100,")
    lakehouse.deliver(source, "first.csv", content)
    lakehouse.ingest()
    before = lakehouse.value("select count(*) from bronze.sbit_gym_logins")
    num_files = len(files_below(lakehouse.settings.paths.landing))
    # What was transcribed as it landed is there already, as it was delivered.
    archived = len(files_below(lakehouse.settings.paths.archive))
    assert lakehouse.forget_files() == num_files
    assert not files_below(lakehouse.settings.paths.landing)
    assert len(files_below(lakehouse.settings.paths.archive)) == archived + num_files
    lakehouse.deliver(source, "again.csv", content)
    lakehouse.deliver(source, "second.csv", logins("02:00:00:00:00:06,6,200,"))
    lakehouse.ingest()
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins") == before + 1
    # A crash of a later load does not make them unknown.
    lakehouse.forget_files()
    lakehouse.deliver(source, "third.csv", logins("02:00:00:00:00:06,6,300,"))
    crash_before_the_move(lakehouse)
    lakehouse.deliver(source, "again.csv", content)
    lakehouse.ingest()
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins") == before + 2


@pytest.mark.deep
def test_a_crash_while_files_are_forgotten_is_made_up_for(lakehouse: Lakehouse) -> None:
    source = "sbit.gym_logins"
    lakehouse.forget_files()
    before = lakehouse.value("select count(*) from bronze.sbit_gym_logins")
    checkpoint = lakehouse.settings.paths.checkpoints / source
    forgotten = checkpoint / "forgotten"
    saved = forgotten.read_text()
    forgotten.rename(checkpoint / ".forgotten")
    (checkpoint / "offsets").mkdir()
    (checkpoint / "offsets" / "0").write_text("half of an old one")
    lakehouse.deliver(source, "fourth.csv", logins("02:00:00:00:00:06,6,400,"))
    load = lakehouse.ingest()
    assert load
    assert not load.failures
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins") == before + 1
    # An empty checkpoint that knows less than bronze has is none to go on with.
    kept = checkpoint.with_name("kept")
    shutil.move(checkpoint, kept)
    checkpoint.mkdir()
    forgotten.write_text(saved)
    lakehouse.deliver(source, "fifth.csv", logins("02:00:00:00:00:06,6,500,"))
    load = lakehouse.ingest()
    assert load
    assert "is missing although" in load.failures[0]
    shutil.rmtree(checkpoint)
    shutil.move(kept, checkpoint)
    lakehouse.ingest()
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins") == before + 2


def test_files_that_bronze_lacks_are_not_forgotten(lakehouse: Lakehouse) -> None:
    source = "sbit.gym_logins"
    lakehouse.deliver(source, "lost.csv", logins("02:00:00:00:00:07,7,100,"))
    lakehouse.ingest()
    lakehouse.rows("delete from bronze.sbit_gym_logins where gym = '7'")
    with pytest.raises(LoadError, match="has no row of 1 files"):
        lakehouse.forget_files()
    [path] = [path for path in files_below(lakehouse.settings.paths.landing) if "lost" in path.name]
    path.unlink()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_nothing_new_opens_no_load(lakehouse: Lakehouse) -> None:
    assert lakehouse.ingest() is None


def test_a_second_ingestion_refuses_and_names_the_first(lakehouse: Lakehouse) -> None:
    with (
        only_ingestion(lakehouse.settings.paths),
        pytest.raises(LockedError, match=f"Process {os.getpid()} ingests"),
        only_ingestion(lakehouse.settings.paths),
    ):
        pytest.fail("the second one was let in")


def test_a_lost_checkpoint_is_refused_not_taken_in_twice(lakehouse: Lakehouse) -> None:
    checkpoint = lakehouse.settings.paths.checkpoints / "sbit.gym_logins"
    saved = checkpoint.with_name("saved")
    before = lakehouse.value("select count(*) from bronze.sbit_gym_logins")
    shutil.move(checkpoint, saved)
    lakehouse.deliver("sbit.gym_logins", "later.csv", logins("02:00:00:00:00:05,5,100,"))
    load = lakehouse.ingest()
    assert load is not None
    assert "is missing although" in (load.sources[0].failure or "")
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins") == before
    shutil.rmtree(checkpoint, ignore_errors=True)
    shutil.move(saved, checkpoint)
    lakehouse.ingest()
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins") == before + 1


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


def ids(lakehouse: Lakehouse) -> list[int]:
    rows = lakehouse.rows("select event_id from bronze.telecom_connections order by event_id")
    return [row["event_id"] for row in rows]


TOY = """
from ingestion.feed import Feed


class Toy(Feed):
    fills_inbox = True

    def news(self, but):
        for table in self.tables:
            for number, text in enumerate(table.feeds.get("toy", {}).get("answers", ())):
                folder = self.home.inbox / table.full_name
                (folder / f".{number}.part").write_text(text)
                (folder / f".{number}.part").rename(folder / f"answer-{number}.csv")
        return {}
"""


def test_a_way_in_is_a_file_of_its_own(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interface that answers with texts; nothing but its module knows of it."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(ingestion.feeds, "__path__", [*ingestion.feeds.__path__, str(tmp_path)])
    all_feeds.cache_clear()
    try:
        answers = ["mac_address,gym,login,logout\na,31,1,2\n", "mac_address,gym,login,logout\n"]
        tables = [
            replace(table, feeds={"toy": {"answers": answers}})
            if table.full_name == "sbit.gym_logins"
            else table
            for table in local.declared_tables()
        ]
        loads = Loads(local.session(lakehouse.settings), lakehouse.settings.paths, tables)
        with only_ingestion(lakehouse.settings.paths):
            first, again = loads.run(), loads.run()
    finally:
        all_feeds.cache_clear()
    assert first is not None
    assert [(load.source, load.landed, load.rows) for load in first.sources] == [
        ("sbit.gym_logins", 2, 1)
    ]
    assert again is not None
    assert again.sources[0].duplicates == 2  # its bytes prove it
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins where gym = '31'") == 1


def test_old_files_come_in_batches_and_go_on_where_they_were(
    lakehouse: Lakehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "_BATCH_FILES", 2)
    old = tmp_path / "old"
    (old / "2019").mkdir(parents=True)
    for number in range(5):
        lines = "".join(f"h,{941 + number},{line},2\n" for line in range(number + 1))
        (old / "2019" / f"{number}.csv").write_text(f"{HEADER}{lines}")
    (old / "again.csv").write_text((old / "2019" / "4.csv").read_text())
    (old / "broken.csv").write_text("gym\n1\n")
    table = next(each for each in local.declared_tables() if each.full_name == "sbit.gym_logins")

    def take_in(show: Callable[[str], None]) -> list[history.Proof]:
        with lakehouse.loads() as loads:
            spark = local.session(lakehouse.settings)
            files = history.History(spark, lakehouse.settings.paths, table, old)
            for load in files.take_in(loads, show):
                loaded.extend(load.sources)
            return [files.prove()]

    def stop(_: str) -> None:
        raise KeyboardInterrupt

    loaded: list[SourceLoad] = []
    lakehouse.deliver("sbit.gym_logins", "new.csv", f"{HEADER}h,940,1,2\n".encode())
    with suppress(KeyboardInterrupt):
        take_in(stop)
    assert sum(load.rows or 0 for load in loaded) == 1 + 1 + 2  # what waited, and one batch
    told: list[str] = []
    [proof] = take_in(told.append)
    assert (proof.files, proof.rows, proof.rows_in_bronze, proof.doubles) == (7, 15, 15, 1)
    [(name, reason)] = proof.refused
    assert (name, "mac_address" in reason) == ("broken.csv", True)
    assert len(told) == 3
    assert "100%" in told[-1]
    assert lakehouse.value("select count(*) from bronze.sbit_gym_logins where gym like '94_'") == 16
    assert len(list(old.rglob("*.csv"))) == 7
    loaded.clear()
    assert take_in(told.append) == [proof]  # nothing is left to do, and it is proven again
    assert loaded == []


def test_what_the_engine_cannot_read_is_set_aside_in_the_same_round(
    lakehouse: Lakehouse, blind_gate: pytest.MonkeyPatch
) -> None:
    lakehouse.deliver(CONNECTIONS, "before.parquet", connection(1))
    lakehouse.deliver(CONNECTIONS, "broken one.parquet", unreadable(2))
    lakehouse.deliver(CONNECTIONS, "broken two.parquet", unreadable(3))
    lakehouse.deliver(CONNECTIONS, "after.parquet", connection(4))
    load = lakehouse.ingest()
    assert load is not None
    assert load.failures == []
    [source] = load.sources
    assert (source.landed, source.rows) == (2, 2)
    assert dict(source.quarantined) == dict.fromkeys(
        ("broken one.parquet", "broken two.parquet"),
        "the engine cannot read it: Unsupported encoding: BYTE_STREAM_SPLIT",
    )
    assert ids(lakehouse) == [1, 4]
    kept = files_below(lakehouse.settings.paths.quarantine / CONNECTIONS)
    assert {path.read_bytes() for path in kept} >= {unreadable(2), unreadable(3)}
    # It is no duplicate of what was taken in, under its name neither, and a good file goes in.
    for name, number in (("again.parquet", 5), ("broken one.parquet", 6)):
        lakehouse.deliver(CONNECTIONS, name, unreadable(2))
        lakehouse.deliver(CONNECTIONS, f"next {number}.parquet", connection(number))
        load = lakehouse.ingest()
        assert load is not None
        assert load.failures == []
        assert [refused for refused, _ in load.sources[0].quarantined] == [name]
        assert ids(lakehouse) == [1, 4, *range(5, number + 1)]


@pytest.mark.deep
def test_a_batch_of_nothing_but_what_the_engine_cannot_read_ends_well(
    lakehouse: Lakehouse, blind_gate: pytest.MonkeyPatch
) -> None:
    before = ids(lakehouse)
    lakehouse.deliver(CONNECTIONS, "alone one.parquet", unreadable(90))
    lakehouse.deliver(CONNECTIONS, "alone two.parquet", unreadable(91))
    load = lakehouse.ingest()
    assert load is not None
    assert load.failures == []
    [source] = load.sources
    assert (source.landed, source.rows, len(source.quarantined)) == (0, 0, 2)
    lakehouse.deliver(CONNECTIONS, "after them.parquet", connection(92))
    lakehouse.ingest()
    assert ids(lakehouse) == [*before, 92]


KILLED = {
    "while it looks for the file": "ingestion.feeds.files.unreadable_files",
    "before the file is moved": "ingestion.feeds.files.quarantine",
    "after the file is moved": "ingestion.bronze.append",
    "before the checkpoint": "",
}


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(moment, marks=() if moment == "before the checkpoint" else pytest.mark.deep)
        for moment in KILLED
    ],
)
def test_a_kill_while_a_file_is_set_aside_is_made_up_for(
    lakehouse: Lakehouse, blind_gate: pytest.MonkeyPatch, moment: str
) -> None:
    number = 100 + 10 * list(KILLED).index(moment)
    before = ids(lakehouse)
    lakehouse.deliver(CONNECTIONS, f"good {number}.parquet", connection(number))
    lakehouse.deliver(CONNECTIONS, f"bad {number}.parquet", unreadable(number + 1))
    if killed := KILLED[moment]:
        calls = iter([True, False])
        real = pkgutil.resolve_name(killed)

        def fail(*arguments: object) -> object:
            if killed == "ingestion.bronze.append" and next(
                calls
            ):  # the stream that fails by itself
                return real(*arguments)
            raise KeyboardInterrupt

        with blind_gate.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(killed, fail)
            lakehouse.ingest()
    else:
        lakehouse.ingest()
        lakehouse.lose_commit(CONNECTIONS)
    lakehouse.deliver(CONNECTIONS, f"later {number}.parquet", connection(number + 2))
    load = lakehouse.ingest()
    assert load is not None
    assert load.failures == []
    assert load.sources[0].landed == 1
    assert ids(lakehouse) == [*before, number, number + 2]
    kept = files_below(lakehouse.settings.paths.quarantine / CONNECTIONS)
    assert [path for path in kept if path.read_bytes() == unreadable(number + 1)]


def test_where_the_engine_reads_nothing_no_file_is_to_blame(
    lakehouse: Lakehouse, blind_gate: pytest.MonkeyPatch
) -> None:
    def broken(_: object, folder: Path) -> Path:
        (folder / "another").write_bytes(b"no Parquet")
        return folder / "another"

    before = ids(lakehouse)
    lakehouse.deliver(CONNECTIONS, "kept.parquet", unreadable(200))
    lakehouse.deliver(CONNECTIONS, "waits.parquet", connection(201))
    with blind_gate.context() as patch:
        patch.setattr("ingestion.landed._readable_file", broken)
        load = lakehouse.ingest()
    assert load is not None
    assert load.sources[0].quarantined == []
    [failure] = load.failures
    assert "kept.parquet: Unsupported encoding: BYTE_STREAM_SPLIT" in failure
    assert "the next round tries again" in failure
    assert ids(lakehouse) == before
    [told] = failing(lakehouse)
    assert told["source"] == CONNECTIONS
    assert told["failure"] == failure.removeprefix(f"{CONNECTIONS}: ")
    assert told["since"] is not None
    lakehouse.ingest()
    assert ids(lakehouse) == [*before, 201]
    assert failing(lakehouse) == []


def failing(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    spark = local.session(lakehouse.settings)
    return reading.status(spark, lakehouse.settings.paths, local.declared_tables())["failing"]


# --- R13: other columns than the declared ones

TYPES = {
    "csv": ("string", "string", "string", "string"),
    "json": ("string", "string", "string", "string"),
    "parquet": ("bigint", "string", "double", "timestamp"),
}


def drifting(file_format: Format) -> SourceTable:
    types = zip(("id", "name", "size", "at"), TYPES[file_format], strict=True)
    columns = tuple(Column(name, data_type) for name, data_type in types)
    name = f"drift.{file_format}"
    return SourceTable("drift", file_format, name.replace(".", "_"), columns, file_format, ("id",))


def parquet(**columns: pa.Array) -> bytes:
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


AT = datetime(2026, 3, 2, 1, 2, 3, tzinfo=UTC)
# As declared; and with a new column, one missing, one renamed, others in another order, case, type.
DELIVERED = {
    "csv": (
        b'id,name,size,at\n1,"",7,t\n2,"a ""b"", c",,t\n',
        b'AT,more,"two words",Id,sizes,name\n'
        b't,x,,3,7,""\nt,"y, ""z""",q,4,,"a ""b"", c"\nt,too few\n"t,open,,5,7,a\nsoon,,,6,,\n',
    ),
    "json": (
        b'{"id": 1, "name": "", "size": 7, "at": "t"}\n'
        b'{"at": "t", "size": null, "name": "a", "id": 2}\n',
        b'{"at": "t", "more": {"x": [1]}, "id": 3, "sizes": 7, "name": ""}\n'
        b'{"at": "t", "id": 4, "name": "a", "size": 7, "Name": "b", "more": null}\n'
        b'broken\n{"ID": 5, "name": "a", "name": "b", "at": [1]}\n',
    ),
    "parquet": (
        parquet(
            id=pa.array([1]),
            name=pa.array(["a"]),
            size=pa.array([0.5]),
            at=pa.array([AT], pa.timestamp("us", "UTC")),
        ),
        parquet(
            AT=pa.array([AT, None], pa.timestamp("ms")),
            more=pa.array([[1, 2], None]),
            ID=pa.array([2, 3], pa.int32()),
            sizes=pa.array([7, None]),
            name=pa.array(["b", None]),
        ),
    ),
}
TAKEN_IN = {
    "csv": [
        # id, name, size, at, _rescued, _raw
        ("1", None, "7", "t", None, None),
        ("2", 'a "b", c', None, "t", None, None),
        ("3", None, None, "t", {"more": "x", "sizes": "7"}, None),
        ("4", 'a "b", c', None, "t", {"more": 'y, "z"', "two words": "q"}, None),
        (None, None, None, None, None, "t,too few"),
        (None, None, None, None, None, '"t,open,,5,7,a'),
        ("6", None, None, "soon", None, None),
    ],
    "json": [
        ("1", "", "7", "t", None, None),
        ("2", "a", None, "t", None, None),
        (
            *("3", "", None, "t", {"more": '{"x":[1]}', "sizes": "7"}),
            '{"at": "t", "more": {"x": [1]}, "id": 3, "sizes": 7, "name": ""}',
        ),
        (
            *("4", "a", "7", "t", {"Name": "b"}),
            '{"at": "t", "id": 4, "name": "a", "size": 7, "Name": "b", "more": null}',
        ),
        (None, None, None, None, None, "broken"),
        (
            *(None, "b", None, "[1]", {"ID": "5"}),
            '{"ID": 5, "name": "a", "name": "b", "at": [1]}',
        ),
    ],
    "parquet": [
        (1, "a", 0.5, AT, None, None),
        (2, "b", None, AT, {"more": "[1, 2]", "sizes": "7"}, None),
        (3, None, None, None, None, None),
    ],
}
TOLD = {
    "csv": "drift.csv: in files of 5 rows: not declared, kept in _rescued: 'more', 'two words', "
    "'sizes'; missing: 'size'",
    "json": "drift.json: rows 3: not declared, kept in _rescued: 'more', 'sizes'; "
    + "; ".join(
        f"'{name}', kept in _rescued, differs from the declared '{name.lower()}' in case alone: "
        "have the sender correct it"
        for name in ("ID", "Name")
    ),
    "parquet": "drift.parquet: in files of 2 rows: not declared, kept in _rescued: 'more', "
    "'sizes'; missing: 'size'",
}


@pytest.mark.parametrize(
    "file_format",
    [
        pytest.param(name, marks=() if name == "csv" else pytest.mark.deep)
        for name in get_args(Format)
    ],
)
def test_files_with_other_columns_lose_nothing(lakehouse: Lakehouse, file_format: Format) -> None:
    table = drifting(file_format)
    paths = lakehouse.settings.paths
    spark = local.session(lakehouse.settings)
    # As a home has it from before, and before the name was declared.
    old = {"id": TYPES[file_format][0], "_raw": "string", "_load_id": "bigint"}
    columns = ", ".join(f"{name} {data_type}" for name, data_type in old.items())
    spark.sql(f"create table {table.bronze_name} ({columns}) using delta")
    create_tables(spark, [table])
    declared, drifted = DELIVERED[file_format]
    lakehouse.deliver(table.full_name, "declared", declared)
    lakehouse.deliver(table.full_name, "drifted", drifted)
    with only_ingestion(paths):
        load = Loads(spark, paths, [table]).run()
    assert load is not None
    assert load.failures == load.refusals == []
    found = lakehouse.rows(
        f"select id, name, size, at, _rescued, _raw, _source_file from {table.bronze_name}"
    )
    assert {row.pop("_source_file") for row in found} == {"declared", "drifted"}
    for row in found:
        row["_rescued"] = json.loads(row["_rescued"] or "null")
    rows = sorted((tuple(row.values()) for row in found), key=lambda row: repr((row[0], row[-1])))
    assert rows == sorted(TAKEN_IN[file_format], key=lambda row: repr((row[0], row[-1])))
    assert load.drifts == [TOLD[file_format]]
    [told] = load.declarations
    assert "models/staging/drift/_drift__sources.yml" in told
    assert "- name: sizes\n" in told
    reasons = {
        row["name"]: row["reason"]
        for row in lakehouse.rows(
            f"select name, reason from audit.files where source = '{table.full_name}'"
        )
    }
    at_the_gate = TOLD[file_format].partition(" rows: ")[2]
    drift = None if file_format == "json" else at_the_gate
    assert reasons == {"declared": None, "drifted": drift}
    kept = files_below(paths.archive / table.full_name / "delivered")
    assert [path.read_bytes() for path in kept] == ([] if file_format == "json" else [drifted])
    [source] = reading.status(spark, paths, [table])["sources"]
    num_rescued = sum(row["_rescued"] is not None for row in found)
    assert (source["rows"], source["rescued_rows"]) == (len(found), num_rescued)
    lakehouse.rows(f"drop table {table.bronze_name}")
