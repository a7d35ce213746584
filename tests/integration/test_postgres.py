"""Pulls from a real PostgreSQL, with the role of `deploy/postgres/reader.sql`."""

from __future__ import annotations

import contextlib
import itertools
import logging
import multiprocessing
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any, cast
from unittest import mock

import psutil
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ingestion import gate
from ingestion.declaration import Column, SourceTable, read_declarations
from ingestion.feed import SoFar
from ingestion.feeds.postgres import PulledTables, connection, pulls, reader, state
from ingestion.feeds.postgres.connection import PullError
from ingestion.feeds.postgres.declared import Postgres, pulled_part
from ingestion.feeds.postgres.pulls import Pulls
from ingestion.home import Home
from lakehouse.settings import PROJECT
from tests.simulation.database import Database
from tests.support.domains import DOMAINS, File
from tests.support.postgres import Server, running_server

DECLARED = read_declarations(PROJECT / "models")
VISITS = DECLARED["sbit.gym_logins"]
REGISTRATIONS = DECLARED["sbit.registered_users"]
VISITS_FOLDER = "sbit.gym_logins.pulled"
REGISTRATIONS_FOLDER = "sbit.registered_users.pulled"
TABLES = """
drop schema public cascade; create schema public;
drop role if exists lakehouse_reader;
create table registrations (
    id bigint primary key, user_id bigint, device_id bigint, mac_address macaddr,
    registered_at timestamptz, updated_at timestamptz
);
create table gym_visits (
    id bigint primary key, mac_address macaddr, gym int, login timestamptz, logout timestamptz,
    updated_at timestamptz
);
""" + (PROJECT / "deploy" / "postgres" / "reader.sql").read_text()
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAC = "64:5a:04:0b:c1:7f"


class World:
    """A database with the two tables, both empty, and the home that they are pulled into."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.home = Home(folder)
        self.now = NOON  # by the lakehouse's clock
        self.database = server.connect()
        self.end_sessions()  # of a test that stopped between two steps
        self.execute(TABLES)

    def execute(self, statement: str, parameters: Any = None) -> list[Any]:
        """What the owner of the database gets to see."""
        cursor = self.database.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else []

    def visit(self, number: int, gym: int = 1, at: datetime = NOON, by: Any = None) -> None:
        """A visit as it is from this moment on."""
        (by or self.database).execute(
            "insert into gym_visits values (%s, %s, %s, %s, null, %s) on conflict (id) "
            "do update set gym = excluded.gym, updated_at = excluded.updated_at",
            (number, MAC, gym, NOON, at),
        )

    def register(self, number: int = 1) -> None:
        self.execute("insert into registrations (id) values (%s) on conflict do nothing", [number])

    def table_of(self, *types: tuple[str, str, str], **spec: Any) -> SourceTable:
        """A table `things`, with a column for each (declared type, type, value)."""
        columns = ", ".join(f"c{index} {kind}" for index, (_, kind, _) in enumerate(types))
        self.execute(f"create table things (id int primary key, {columns})")
        self.execute(f"insert into things values (1, {', '.join(value for *_, value in types)})")
        self.execute("grant select on things to lakehouse_reader")
        names = {f"c{index}": declared for index, (declared, _, _) in enumerate(types)}
        return things(names, **spec)

    def feed(self, *tables: SourceTable, at_least: int = 0) -> Pulls:
        return Pulls(self.home, tables or (VISITS,), {"sbit": self.server.reader}, at_least)

    def inbox(self, table: SourceTable = VISITS) -> Path:
        return self.home.inbox / f"{table.full_name}.pulled"

    def state(self, table: SourceTable = VISITS) -> Path:
        return self.home.checkpoints / f"{table.full_name}.pulled" / "pulled.sqlite"

    def files(self, table: SourceTable = VISITS) -> list[Path]:
        """Those of a pulled table, each of which the gate lets in, in the order of the pulls."""
        inbox = self.inbox(table)
        files = list(inbox.glob("[0-9]*"))
        for file in files:
            inspection = gate.inspect(file, pulled_part(table), inbox)
            assert inspection.reason is None
            assert inspection.num_rows
        return sorted(files, key=lambda file: tuple(map(int, file.stem.split("-"))))

    def rows(self, table: SourceTable = VISITS) -> list[dict[str, Any]]:
        return [row for file in self.files(table) for row in pq.read_table(file).to_pylist()]

    def gyms(self) -> dict[str, str]:
        """The present gym of each visit."""
        return {key: row["gym"] for key, row in present(self.rows()).items()}

    def story(self) -> list[tuple[int, str, str, str | None]]:
        """Of each pulled visit pull, key, operation and gym."""
        return [(row["_pull_id"], row["_pull_key"], row["_op"], row["gym"]) for row in self.rows()]

    def sessions(self) -> list[int]:
        """The server's processes that serve a pull, the last one first."""
        found = self.execute(
            "select pid from pg_stat_activity where application_name = 'lakehouse' "
            "order by backend_start desc"
        )
        return [pid for (pid,) in found]

    def end_sessions(self) -> None:
        for pid in self.sessions():
            self.execute("select pg_terminate_backend(%s)", [pid])
        self.await_no_session()

    def await_no_session(self) -> None:
        for _ in range(6_000):
            if not self.sessions():
                return
            time.sleep(0.01)
        raise AssertionError("a session goes on")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def world(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(server, tmp_path / "home")
    monkeypatch.setattr(pulls, "_now", lambda: world.now)
    yield world
    world.database.close()


SMALL_STEPS = (
    (pulls, "_STEP_BYTES", 2 * pulls._ROW_BYTES),
    (reader, "_SCAN_ROWS", 2),
    (state, "_BATCH_ROWS", 2),
)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step sees two rows, or brings two."""
    for module, name, value in SMALL_STEPS:
        monkeypatch.setattr(module, name, value)


def every_time(table: SourceTable, **changes: Any) -> SourceTable:
    """The table as one of which each pull compares all rows."""
    return changed(table, compare_every=None, **changes)


def changed(table: SourceTable, **changes: Any) -> SourceTable:
    return replace(table, feeds={"postgres": replace(table.feeds["postgres"], **changes)})


def things(types: dict[str, str], key: tuple[str, ...] = ("id",), **spec: Any) -> SourceTable:
    """The declaration of the table `things`, whose columns have these types."""
    return SourceTable(
        source="sbit",
        name="things",
        identifier="sbit_things",
        columns=tuple(Column(name, data_type) for name, data_type in types.items()),
        format="parquet",
        key=(next(iter(types)),),
        unknown_columns="fail",
        feeds={"postgres": Postgres(("public", "things"), key, **spec)},
    )


def present(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows that are left when the pulled ones are played in their order."""
    left: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: cast(int, row["_pull_id"])):
        if row["_op"] == "delete":
            left.pop(row["_pull_key"], None)
        else:
            left[row["_pull_key"]] = row
    return left


def pull_whole(feed: Pulls) -> dict[str, str]:
    """All steps of a pull."""
    faults = feed.pull()
    while feed.goes_on:
        faults |= feed.pull()
    return faults


def at_each_look(monkeypatch: pytest.MonkeyPatch, do: Callable[[int], None]) -> None:
    """Does something when rows have been seen and before they are read; it is told how often."""
    see = state.State.see
    times = itertools.count(1)

    def see_and_do(self: state.State, rows: Any) -> None:
        see(self, rows)
        do(next(times))

    monkeypatch.setattr(state.State, "see", see_and_do)


def test_the_declared_tables_are_pulled(world: World) -> None:
    world.execute(
        "insert into registrations values (7, 1, 2, '64-5A-04-0B-C1-7F', "
        "'2026-02-03 04:05:06.5+00', now())"
    )
    world.visit(8)
    assert world.feed(VISITS, REGISTRATIONS).pull() == {}
    of_both = {"_pull_id": 1, "_pulled_at": NOON, "_op": "upsert"}
    assert world.rows(REGISTRATIONS) == [
        {
            "user_id": "1",
            "device_id": "2",
            "mac_address": MAC,
            "registration_timestamp": "1770091506.5",
            "_pull_key": "7",
            **of_both,
        }
    ]
    assert world.rows() == [
        {
            "mac_address": MAC,
            "gym": "1",
            "login": "1772366400",
            "logout": None,
            "_pull_key": "8",
            **of_both,
        }
    ]


def test_a_pull_without_changes_leaves_no_file(world: World) -> None:
    for gym, table in enumerate((VISITS, every_time(VISITS))):
        world.visit(1, gym)
        feed = world.feed(table)
        feed.pull()
        feed.pull()
    assert [file.name for file in world.files()] == ["1.parquet", "2.parquet"]


@pytest.mark.parametrize(
    "statement",
    [
        "select * from secret",
        "begin read write; delete from gym_visits",
        "begin read write; create table own (a int)",
        "begin read write; create role other",
    ],
)
def test_the_role_can_do_nothing_else(world: World, statement: str) -> None:
    world.execute("create table secret (a int)")
    refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
    with psycopg.connect(world.server.reader) as role, pytest.raises(refused):
        role.execute(statement)


ALMOST_TWO = datetime(2026, 3, 29, 1, 59, 59, 999999, UTC)
LONG_AGO = datetime(1000, 1, 1, 0, 0, 0, 1, UTC)
DIGITS = "12345678901234567890123456789.123456789"
# Of each declared type what PostgreSQL has, and what comes of it.
TYPES: list[tuple[str, str, str, Any]] = [
    ("bigint", "bigint", "9223372036854775807", 2**63 - 1),
    ("bigint", "bigint", "-9223372036854775808", -(2**63)),
    ("bigint", "int", "5", 5),
    ("bigint", "bigint", "null", None),
    ("int", "int", "-2147483648", -(2**31)),
    ("int", "smallint", "7", 7),
    ("double", "double precision", "0.1", 0.1),
    ("double", "double precision", "5e-324", 5e-324),
    ("double", "double precision", "'Infinity'", float("inf")),
    ("double", "real", "0.5", 0.5),
    ("boolean", "boolean", "true", True),
    ("boolean", "boolean", "null", None),
    ("date", "date", "'0001-01-01'", date(1, 1, 1)),
    ("date", "date", "'9999-12-31'", date(9999, 12, 31)),
    ("timestamp", "timestamptz", "'2026-03-29 02:59:59.999999+01'", ALMOST_TWO),
    ("timestamp", "timestamptz", "'1000-01-01 00:00:00.000001+00'", LONG_AGO),
    ("timestamp", "timestamp", "'2026-03-29 02:30'", datetime(2026, 3, 29, 2, 30, tzinfo=UTC)),
    ("decimal(38,9)", "numeric", DIGITS, Decimal(DIGITS)),
    ("decimal(18,2)", "numeric(18,2)", "-0.10", Decimal("-0.10")),
    ("decimal(18,2)", "numeric", "1.5000", Decimal("1.50")),
    ("decimal(18,2)", "bigint", "5", Decimal("5.00")),
    ("string", "text", "''", ""),
    ("string", "text", "null", None),
    ("string", "text", "'null'", "null"),
    ("string", "char(3)", "'a'", "a"),
    ("string", "numeric", "1e30", "1" + 30 * "0"),
    ("string", "numeric", "'NaN'", "NaN"),
    ("string", "double precision", "0.1", "0.1"),
    ("string", "timestamptz", "'2026-03-29 02:59:59.9+01'", "2026-03-29 01:59:59.9+00"),
    ("string", "macaddr", "'645a040bc17f'", MAC),
    ("string", "bytea", "'\\x00ff'", "\\x00ff"),
    ("string", "jsonb", """'{"a": "\\u00e9"}'""", '{"a": "é"}'),
    ("string", "int[]", "'{1,null}'", "{1,NULL}"),
]  # fmt: skip


def test_types_are_kept(world: World) -> None:
    world.execute("alter role lakehouse_reader set timezone = 'Asia/Kathmandu'")
    world.execute("alter role lakehouse_reader set datestyle = 'SQL, DMY'")
    table = world.table_of(*((declared, kind, value) for declared, kind, value, _ in TYPES))
    assert world.feed(table).pull() == {}
    [row] = world.rows(table)
    assert [row[f"c{index}"] for index in range(len(TYPES))] == [value for *_, value in TYPES]
    schema = pq.read_schema(world.files(table)[0])
    assert schema.field("_pull_id").type == pa.int64()
    assert schema.field("_pulled_at").type == pa.timestamp("us", "UTC")
    assert schema.field("c3").type == pa.int64()
    assert schema.field("c23").type == pa.string()


def test_times_beyond_those_of_python_are_kept(world: World) -> None:
    table = world.table_of(
        ("timestamp", "timestamptz", "'4713-01-01 00:00:00+00 BC'"),
        ("timestamp", "timestamptz", "'200000-01-01 00:00:00+00'"),
        ("date", "date", "'4713-01-01 BC'"),
    )
    assert world.feed(table).pull() == {}
    rows = pq.read_table(world.files(table)[0])
    # By the Julian day numbers 1721426 of 0001-01-01 and 38 of 4713-01-01 BC (Gregorian).
    first = 38 - 1721426 - 719162
    assert rows["c0"].cast(pa.int64()).to_pylist() == [first * 86_400_000_000]
    # 500 times 400 years are 146097 days each.
    assert rows["c1"].cast(pa.int64()).to_pylist() == [
        (500 * 146_097 - (2000 * 146_097 // 400) + 10_957) * 86_400_000_000
    ]
    assert rows["c2"].cast(pa.int32()).to_pylist() == [first]


def test_null_and_empty_are_apart(world: World) -> None:
    """Also where a row is compared with what it was."""
    table = world.table_of(("string", "text", "null"), ("string", "text", "''"))
    feed = world.feed(table)
    rows = [(None, ""), ("", None), ("", ""), ("null", ""), ("", ","), (",", ""), ('"', '""')]
    for row in rows:
        world.execute("update things set (c0, c1) = (%s, %s)", row)
        assert feed.pull() == {}
    assert [(row["c0"], row["c1"]) for row in world.rows(table)] == rows


def test_a_pull_that_fails_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "_BATCH_ROWS", 1)
    table = world.table_of(("decimal(18,2)", "numeric", "1"))
    world.execute("insert into things values (2, 1.005)")
    feed = world.feed(table)
    assert len(feed.pull()) == 1
    assert list(world.inbox(table).iterdir()) == []
    world.execute("update things set c0 = 2 where id = 2")
    assert feed.pull() == {}
    assert len(present(world.rows(table))) == 2


def test_expressions_are_sql_over_a_row(world: World) -> None:
    table = world.table_of(
        ("bigint", "bigint", "14"),
        ("string", "text", "'50%s {}'"),
        columns=(("c0", 'c0 % 10 -- of "ten"\n'), ("c1", "case when c1 like '%s {}' then c1 end")),
    )
    assert world.feed(table).pull() == {}
    [row] = world.rows(table)
    assert (row["c0"], row["c1"]) == (4, "50%s {}")


def test_a_deleted_row_keeps_what_its_key_is_made_of(world: World) -> None:
    table = world.table_of(
        ("bigint", "bigint", "-5"),
        ("timestamp", "timestamptz", "'2026-03-01 12:00+00'"),
        ("string", "text", "'a'"),
        ("string", "text", "'b'"),
        key=("c1", "c0", "c3"),
        columns=(("c3", "'other'"),),
    )
    world.execute("insert into things select 2, 6, now(), 'c', 'd'")
    feed = world.feed(table)
    feed.pull()
    world.execute("delete from things where c0 = -5")
    assert feed.pull() == {}
    [row] = [row for row in world.rows(table) if row["_op"] == "delete"]
    assert row["_pull_key"] == '["2026-03-01 12:00:00+00", "-5", "b"]'
    assert [row[f"c{index}"] for index in range(4)] == [-5, NOON, None, None]


def test_a_deleted_key_is_forgotten(world: World) -> None:
    """A key may tell of a person."""
    table = world.table_of(("string", "text", "'Ada Planted'"), key=("c0",))
    world.execute("insert into things values (2, 'Another')")
    feed = world.feed(table)
    feed.pull()
    world.execute("delete from things where c0 = 'Ada Planted'")
    feed.pull()
    [file] = [path for path in world.home.checkpoints.rglob("*") if path.is_file()]
    assert b"Another" in file.read_bytes()
    assert b"Planted" not in file.read_bytes()


@pytest.mark.parametrize(("encoding", "is_pulled"), [("LATIN1", True), ("SQL_ASCII", False)])
def test_databases_of_other_encodings(world: World, encoding: str, is_pulled: bool) -> None:
    name = encoding.lower()
    world.execute(f"create database {name} template template0 encoding '{encoding}'")
    owner, role = (
        conninfo.replace("dbname=postgres", f"dbname={name}")
        for conninfo in (world.server.owner, world.server.reader)
    )
    with psycopg.connect(owner, autocommit=True) as other:
        other.execute("set client_encoding = 'LATIN1'")
        other.execute("create table things (id int primary key, name text)")
        other.execute("grant select on things to lakehouse_reader")
        text = "E'\\xe9'" if encoding == "SQL_ASCII" else "'é'"
        other.execute(f"insert into things values (1, {text})")
    table = things({"name": "string"})
    faults = Pulls(world.home, [table], {"sbit": role}).pull()
    world.execute(f"drop database {name} with (force)")
    if is_pulled:
        assert [row["name"] for row in world.rows(table)] == ["é"]
    else:
        assert "is none that its column or expression can be (Char" in str(faults)


def test_every_character_is_kept(world: World) -> None:
    """As value and as key; PostgreSQL holds all but NUL and the surrogates."""
    codes = [*range(1, 0xD800), *range(0xE000, 0x110000)]
    texts = ["".join(map(chr, codes[at : at + 5000])) for at in range(0, len(codes), 5000)]
    texts += [chr(code) for code in range(1, 0x300)] + ["%s", "{}", "'", '"', "\\", "\r\n", ""]
    world.execute(
        "create table things (part text, number int, value text, primary key (part, number))"
    )
    world.execute("grant select on things to lakehouse_reader")
    with world.database.cursor().copy("copy things from stdin") as copy:
        for number, text in enumerate(texts):
            copy.write_row((text[:300], number, text))
    table = things(
        {"part": "string", "value": "string"},
        key=("part", "number"),
        max_deleted_share=Decimal(1),
    )
    feed = world.feed(table)
    assert feed.pull() == {}
    assert sorted(row["value"] for row in world.rows(table)) == sorted(texts)
    world.execute("delete from things where number <> 0")
    assert feed.pull() == {}
    deleted = [row for row in world.rows(table) if row["_op"] == "delete"]
    assert sorted(row["part"] for row in deleted) == sorted(text[:300] for text in texts[1:])
    assert {row["value"] for row in deleted} == {None}
    assert len(present(world.rows(table))) == 1


def test_keys_of_any_text_come_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch begins above the last key of the one before, whatever characters these have."""
    monkeypatch.setattr(state, "_BATCH_ROWS", 1)
    keys = ["", "\x01", "a", "a\x01", "a ", "aa", "é", "\uffff", "\U0010ffff"]
    table = world.table_of(("string", "text", "'b'"), key=("c0",), max_deleted_share=Decimal(1))
    for number, key in enumerate(keys):
        world.execute("insert into things values (%s, %s)", (number + 2, key))
    feed = world.feed(table)
    assert feed.pull() == {}
    assert sorted(row["c0"] for row in world.rows(table)) == sorted([*keys, "b"])
    world.execute("delete from things where c0 <> 'b'")
    assert feed.pull() == {}
    assert list(present(world.rows(table))) == ["b"]
    assert len(world.rows(table)) == 2 * len(keys) + 1


def test_only_what_has_changed_is_pulled(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rows have the time of the last pull, one of which it did not see yet."""
    monkeypatch.setattr(reader, "OVERLAP_MINUTES", 0)
    feed = world.feed()
    world.visit(1)
    world.visit(2)
    feed.pull()
    world.visit(3)
    world.visit(2, gym=5, at=NOON + timedelta(seconds=1))
    feed.pull()
    feed.pull()
    assert world.story() == [
        (1, "1", "upsert", "1"),
        (1, "2", "upsert", "1"),
        (2, "2", "upsert", "5"),
        (2, "3", "upsert", "1"),
    ]


def test_between_comparisons_old_rows_are_not_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(100):
        world.visit(number, at=NOON - timedelta(minutes=number))
    feed = world.feed()
    feed.pull()
    seen: list[Any] = []
    see = state.State.see
    monkeypatch.setattr(state.State, "see", lambda own, rows: see(own, seen.extend(rows) or rows))
    feed.pull()
    assert len(seen) == 6  # those of the last five minutes, and the one five minutes old
    world.now += timedelta(hours=1)
    feed.pull()
    assert len(seen) == 106


def test_one_snapshot_for_all_tables(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is changed when its digest has been read, and another table before it is."""
    world.visit(1, gym=1)
    feed = world.feed(every_time(VISITS), every_time(REGISTRATIONS))
    with monkeypatch.context() as patched:
        at_each_look(patched, lambda _: world.register())
        at_each_look(patched, lambda _: world.visit(1, gym=2))
        assert feed.pull() == {}
    assert world.gyms() == {"1": "1"}
    assert world.files(REGISTRATIONS) == []
    assert feed.pull() == {}
    assert world.gyms() == {"1": "2"}
    assert len(world.rows(REGISTRATIONS)) == 1


def test_there_and_back_again(world: World) -> None:
    feed = world.feed()
    for seconds, gym in enumerate((1, 2, 1)):
        world.visit(1, gym, NOON + timedelta(seconds=seconds))
        feed.pull()
    world.visit(1, 2, NOON + timedelta(seconds=8))
    world.visit(1, 1, NOON + timedelta(seconds=9))
    feed.pull()  # twice between two pulls, and back: there is nothing to tell
    assert [(row[0], row[3]) for row in world.story()] == [(1, "1"), (2, "2"), (3, "1")]


def test_deleted_and_back(world: World) -> None:
    feed = world.feed()
    world.visit(1)
    world.visit(2)
    feed.pull()
    world.execute("delete from gym_visits where id = 1")
    feed.pull()
    assert world.gyms() == {"1": "1", "2": "1"}  # deletes are found by comparisons
    world.now += timedelta(hours=1)
    feed.pull()
    assert world.gyms() == {"2": "1"}
    world.visit(1)
    feed.pull()
    assert world.gyms() == {"1": "1", "2": "1"}
    assert world.story()[2:] == [(2, "1", "delete", None), (3, "1", "upsert", "1")]


def test_the_clock_of_the_database_is_set_back(world: World) -> None:
    """What was pulled last counts, whatever the change column says."""
    feed = world.feed()
    world.visit(1, gym=1, at=NOON)
    feed.pull()
    world.visit(1, gym=2, at=NOON - timedelta(days=1))
    world.now += timedelta(hours=1)
    feed.pull()
    assert world.story() == [(1, "1", "upsert", "1"), (2, "1", "upsert", "2")]
    world.now -= timedelta(days=1)  # nor does it matter what our own clock says
    world.visit(1, gym=3, at=NOON - timedelta(days=2))
    feed.pull()
    assert world.gyms() == {"1": "3"}


def test_a_time_of_the_future_does_not_hide_the_present(world: World) -> None:
    feed = world.feed()
    world.visit(1, at=NOON + timedelta(days=365_000))
    feed.pull()
    world.execute("insert into gym_visits (id, gym, updated_at) values (2, 9, now())")
    feed.pull()
    feed.pull()
    assert world.story() == [(1, "1", "upsert", "1"), (2, "2", "upsert", "9")]


def test_a_number_that_grows_tells_of_changes(world: World) -> None:
    table = world.table_of(
        ("bigint", "bigint", "7"), changed_at="c0", compare_every=timedelta(days=1)
    )
    feed = world.feed(table)
    for statement in (
        "insert into things values (2, 9), (3, null)",
        "insert into things values (4, 9), (5, 8)",  # of which the last comes too late
        "update things set c0 = 10 where id = 1",
    ):
        world.execute(statement)
        assert feed.pull() == {}
    told = [(row["_pull_id"], row["_pull_key"]) for row in world.rows(table)]
    assert told == [(1, "1"), (1, "2"), (1, "3"), (2, "4"), (3, "1")]


@pytest.mark.parametrize(
    ("lasted", "is_seen_at_once"), [(timedelta(minutes=3), True), (timedelta(hours=3), False)]
)
def test_a_transaction_that_commits_late(
    world: World, lasted: timedelta, is_seen_at_once: bool
) -> None:
    feed = world.feed()
    world.visit(1)
    with world.server.connect() as other:
        with other.transaction():
            world.visit(2, at=NOON - lasted, by=other)
            feed.pull()
        assert set(world.gyms()) == {"1"}
    feed.pull()
    assert ("2" in world.gyms()) == is_seen_at_once
    world.now += timedelta(hours=1)
    feed.pull()
    feed.pull()
    assert [row[1] for row in world.story()] == ["1", "2"]


def test_an_update_that_leaves_the_change_column_alone(world: World) -> None:
    feed = world.feed()
    for number in (1, 2):
        world.visit(number, at=NOON - timedelta(days=number))
    world.execute("insert into gym_visits (id, gym) values (3, 1)")  # without a time at all
    feed.pull()
    world.execute("update gym_visits set gym = 7 where id >= 2")
    feed.pull()
    assert world.gyms() == {"1": "1", "2": "1", "3": "1"}
    world.now += timedelta(hours=1)
    feed.pull()
    assert world.gyms() == {"1": "1", "2": "7", "3": "7"}


def test_a_table_that_empties_is_stopped(world: World) -> None:
    feed = world.feed(every_time(VISITS), every_time(REGISTRATIONS))
    for number in range(3):
        world.visit(number)
    feed.pull()
    world.execute("truncate gym_visits")
    world.visit(9)
    world.register()
    stopped = "3 of 3 rows are gone from public.gym_visits"
    assert feed.accept(VISITS.full_name) == []
    for _ in range(2):
        assert feed.pull() == {
            VISITS_FOLDER: f"sbit.gym_logins: {stopped}; nothing of it is pulled. Put them back, "
            "or, if they are to be deleted here too: lakehouse accept sbit.gym_logins"
        }
    assert set(world.gyms()) == {"0", "1", "2"}
    assert len(world.rows(REGISTRATIONS)) == 1
    assert [table["note"] for table in feed.describe()] == [stopped, None]
    assert feed.accept(VISITS.full_name) == [
        f"sbit.gym_logins: accepted, the next pull deletes them ({stopped})."
    ]
    assert feed.pull() == {}
    assert set(world.gyms()) == {"9"}
    assert [table["note"] for table in feed.describe()] == [None, None]
    world.execute("truncate gym_visits")
    assert list(feed.pull()) == [VISITS_FOLDER]  # it was accepted once


@pytest.mark.parametrize(
    ("num_rows", "num_deleted", "is_stopped"),
    [(19, 18, False), (19, 19, True), (20, 4, False), (20, 5, True), (1, 1, True), (35, 7, False)],
)
def test_how_many_may_be_deleted_unasked(
    world: World, num_rows: int, num_deleted: int, is_stopped: bool
) -> None:
    feed = world.feed(every_time(VISITS))
    for number in range(num_rows):
        world.visit(number)
    feed.pull()
    world.execute("delete from gym_visits where id < %s", (num_deleted,))
    assert bool(feed.pull()) == is_stopped
    assert len(world.gyms()) == num_rows - (0 if is_stopped else num_deleted)


def test_rows_that_come_back_end_a_stop(world: World) -> None:
    feed = world.feed(every_time(VISITS))
    world.visit(1)
    feed.pull()
    world.execute("delete from gym_visits")
    assert feed.pull()
    world.visit(1)
    assert feed.pull() == {}
    assert feed.accept(VISITS.full_name) == []


def test_a_server_that_is_down_and_comes_back(world: World) -> None:
    """Another source is pulled all the same."""
    world.visit(1)
    elsewhere = replace(REGISTRATIONS, source="other")
    with running_server() as other:
        with other.connect() as owner:
            owner.execute(TABLES)
            owner.execute("insert into registrations (id) values (1)")
        conninfos = {"sbit": world.server.reader, "other": other.reader}
        feed = Pulls(world.home, [VISITS, elsewhere], conninfos)
        world.server.stop()
        try:
            faults = feed.pull()
        finally:
            world.server.start()
        assert list(faults) == [VISITS_FOLDER]
        [fault] = faults.values()
        assert fault.startswith("sbit: the database cannot be asked: ")
        assert fault.endswith("or correct LAKEHOUSE_POSTGRES_SBIT; the next pull goes on")
        assert "\n" not in fault
        assert len(world.rows(elsewhere)) == 1
        assert feed.pull() == {}
        assert world.gyms() == {"1": "1"}


def test_a_server_that_restarts_in_the_middle(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The table that was done before stays done; of the other nothing is left."""
    world.visit(1)
    world.register()
    feed = world.feed(VISITS, REGISTRATIONS)
    with monkeypatch.context() as patched:
        at_each_look(patched, lambda times: world.server.restart() if times == 2 else None)
        assert list(feed.pull()) == [REGISTRATIONS_FOLDER]
    assert caplog.text == ""
    assert world.gyms() == {"1": "1"}
    assert world.files(REGISTRATIONS) == []
    assert feed.pull() == {}
    assert len(world.rows(REGISTRATIONS)) == 1
    assert len(world.story()) == 1


def test_a_slow_statement_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "STATEMENT_SECONDS", 1)
    world.visit(1)
    world.register()
    slow = every_time(REGISTRATIONS, columns=(("registration_timestamp", "pg_sleep(600)"),))
    faults = world.feed(slow, VISITS).pull()
    assert list(faults) == [REGISTRATIONS_FOLDER]
    assert "took more than 1 s for a statement" in faults[REGISTRATIONS_FOLDER]
    assert world.gyms() == {"1": "1"}


def test_a_locked_table_is_not_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LOCK_SECONDS", 1)
    world.visit(1)
    feed = world.feed(REGISTRATIONS, VISITS)
    with world.server.connect() as other, other.transaction():
        other.execute("lock table registrations in access exclusive mode")
        faults = feed.pull()
    assert list(faults) == [REGISTRATIONS_FOLDER]
    assert "public.registrations has been locked by another for 1 s" in str(faults)
    assert world.gyms() == {"1": "1"}
    assert feed.pull() == {}


def test_a_server_that_does_not_say_a_word(world: World) -> None:
    feed = Pulls(world.home, [VISITS], {"sbit": f"{world.server.reader} connect_timeout=2"})
    with world.server.frozen():
        [fault] = feed.pull().values()
    assert "sbit: the database cannot be asked: " in fault
    assert feed.pull() == {}


def test_a_server_that_falls_silent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot even end its own statement any more."""
    monkeypatch.setattr(connection, "STATEMENT_SECONDS", 1)
    monkeypatch.setattr(connection, "_GRACE_SECONDS", 0.5)
    world.visit(1)
    feed = world.feed()
    silenced: list[psutil.Process] = []

    def silence(_: int) -> None:
        silenced.append(psutil.Process(world.sessions()[0]))
        silenced[0].suspend()

    with monkeypatch.context() as patched:
        at_each_look(patched, silence)
        try:
            [fault] = feed.pull().values()
        finally:
            silenced[0].resume()
    assert "sbit: the database cannot be asked: it has not answered for 1.5 s" in fault
    monkeypatch.undo()
    assert feed.pull() == {}
    assert world.gyms() == {"1": "1"}


# ---- between two steps -------------------------------------------------------------------------


def test_a_large_pull_is_many_steps(world: World, small_steps: None) -> None:
    """Its snapshot lasts, over all tables; only when it is whole, what has changed since counts."""
    for number in range(7):
        world.visit(number)
    feed = world.feed(every_time(VISITS), REGISTRATIONS)
    delivered: list[list[int]] = []
    while not delivered or feed.goes_on:
        assert feed.pull() == {}
        delivered.append([len(pq.read_table(file)) for file in world.files()])
        if feed.goes_on:
            told = feed.describe()[0]
            assert (told["rows"], told["compared_at"]) == (sum(delivered[-1]), None)
        world.visit(3, gym=len(delivered))
        world.visit(99)
        world.register()
    # Seven rows are seen, 2 + 2 + 2 + 1, the last with the first two that are brought.
    assert delivered == [[], [], [], [2], [2, 2], [2, 2, 2], [2, 2, 2, 1]]
    names = [file.name for file in world.files()]
    assert names == ["1.parquet", "1-2.parquet", "1-3.parquet", "1-4.parquet"]
    assert world.gyms() == {str(number): "1" for number in range(7)}
    assert world.files(REGISTRATIONS) == []
    assert pull_whole(feed) == {}
    assert world.story()[7:] == [(2, "3", "upsert", "7"), (2, "99", "upsert", "1")]
    assert len(world.rows(REGISTRATIONS)) == 1


def test_a_large_table_that_empties_is_stopped(world: World, small_steps: None) -> None:
    """Nothing of it is pulled before it has been seen whole; accepted may it be in between."""
    for number in range(8):
        world.visit(number)
    feed = world.feed(every_time(VISITS))
    pull_whole(feed)
    world.execute("delete from gym_visits")
    for number in range(10, 15):
        world.visit(number)
    assert list(pull_whole(feed)) == [VISITS_FOLDER]
    assert len(world.story()) == 8
    feed.pull()
    assert feed.goes_on
    assert len(world.feed(every_time(VISITS)).accept(VISITS.full_name)) == 1
    assert pull_whole(feed) == {}
    assert set(world.gyms()) == {"10", "11", "12", "13", "14"}


def test_another_source_has_its_turn(world: World, small_steps: None) -> None:
    elsewhere = every_time(replace(REGISTRATIONS, source="other"))
    conninfos = dict.fromkeys(("sbit", "other"), world.server.reader)
    feed = Pulls(world.home, [VISITS, elsewhere], conninfos)
    for number in range(40):
        world.visit(number)
    for number in range(1, 4):
        world.register(number)
        while len(world.rows(elsewhere)) < number:
            assert feed.pull() == {}
            assert len(world.story()) < 40
    assert pull_whole(feed) == {}
    assert len(world.story()) == 40


@pytest.mark.parametrize("num_steps", [1, 4])
def test_a_table_that_is_put_off_is_begun_anew(
    world: World, small_steps: None, num_steps: int
) -> None:
    """Of what it has delivered nothing comes again; the others go on."""
    for number in range(6):
        world.visit(number)
    world.register()
    feed = world.feed(VISITS, REGISTRATIONS)
    for _ in range(num_steps):
        feed.pull()
    num_delivered = len(world.story())
    assert bool(num_delivered) == (num_steps == 4)
    while feed.goes_on:
        assert feed.pull(but=[VISITS_FOLDER]) == {}
    assert len(world.rows(REGISTRATIONS)) == 1
    assert len(world.story()) == num_delivered
    assert feed.describe()[0]["compared_at"] is None
    world.visit(5, gym=5)
    assert pull_whole(feed) == {}
    assert world.gyms() == {str(number): "5" if number == 5 else "1" for number in range(6)}
    assert len(world.story()) == 6


@pytest.mark.parametrize("num_steps", [1, 4])
def test_a_server_that_restarts_between_two_steps(
    world: World, small_steps: None, caplog: pytest.LogCaptureFixture, num_steps: int
) -> None:
    for number in range(6):
        world.visit(number)
    feed = world.feed(VISITS, REGISTRATIONS)
    for _ in range(num_steps):
        feed.pull()
    world.server.restart()
    faults = feed.pull()
    assert list(faults) == [VISITS_FOLDER, REGISTRATIONS_FOLDER]
    assert "sbit: the database cannot be asked: " in faults[VISITS_FOLDER]
    assert not feed.goes_on
    assert caplog.text == ""
    assert pull_whole(feed) == {}
    assert len(world.story()) == len(world.gyms()) == 6


def test_where_no_snapshot_lasts_a_pull_ends_all_the_same(world: World, small_steps: None) -> None:
    """Each time one is lost, the next pull makes fewer steps; then steps are short again."""
    for number in range(30):
        world.visit(number)
    feed = world.feed(every_time(VISITS))
    faults = [feed.pull()]
    while feed.goes_on:
        world.end_sessions()
        assert len(faults) < 100
        faults += [feed.pull(), feed.pull()]
    assert all(fault.keys() <= {VISITS_FOLDER} for fault in faults)
    assert faults[-1] == {}
    assert len(world.story()) == len(world.gyms()) == 30
    feed.pull()
    assert feed.goes_on


def test_a_snapshot_rests_for_so_long_only(
    world: World, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a loop that hangs would keep the database from its own upkeep for ever."""
    for number in range(6):
        world.visit(number)
    feed = world.feed()
    with monkeypatch.context() as patched:
        patched.setattr(connection, "REST_SECONDS", 1)
        faults = feed.pull()
        world.await_no_session()
        faults = faults or feed.pull()
    assert "terminating connection due to idle-in-transaction timeout" in str(faults)
    assert pull_whole(feed) == {}
    assert len(world.story()) == 6


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_pull_that_nobody_goes_on_with_lets_go_of_its_snapshot(
    world: World, small_steps: None, caplog: pytest.LogCaptureFixture, is_lost: bool
) -> None:
    for number in range(6):
        world.visit(number)
    feed = world.feed()
    while not world.files():
        feed.pull()
    assert world.sessions()
    if is_lost:
        world.end_sessions()
    del feed
    world.await_no_session()
    assert caplog.text == ""


def test_a_command_that_ends_between_two_steps_ends_quietly(world: World) -> None:
    for number in range(6):
        world.visit(number)
    ended = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import sys; from pathlib import Path\n"
            "from ingestion.declaration import read_declarations\n"
            "from ingestion.feeds.postgres import pulls\n"
            "from ingestion.home import Home\n"
            "pulls._STEP_BYTES = 1\n"
            "table = read_declarations(Path(sys.argv[1]))['sbit.gym_logins']\n"
            "feed = pulls.Pulls(Home(Path(sys.argv[2])), [table], {'sbit': sys.argv[3]})\n"
            "feed.pull(); print(feed.goes_on)\n",
            *(PROJECT / "models", world.home.root, world.server.reader),
        ],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
    )
    assert (ended.stdout, ended.stderr) == ("True\n", "")
    world.await_no_session()


def test_a_kill_at_any_point(world: World, small_steps: None) -> None:
    """What was held does not come again; what was not does, under a higher number."""
    for number in range(5):
        world.visit(number)
    feed = world.feed(every_time(VISITS))
    assert pull_whole(feed) == {}
    for number in (0, 1, 2, 7):
        world.visit(number, gym=2)
    world.execute("delete from gym_visits where id = 4")
    expected = {"0": "2", "1": "2", "2": "2", "3": "1", "7": "2"}
    before = [file.name for file in world.files()]
    saved = world.home.root.with_name("before")
    shutil.copytree(world.home.root, saved)
    ends = []
    for point in itertools.count():
        shutil.rmtree(world.home.root)
        shutil.copytree(saved, world.home.root)
        child = multiprocessing.get_context("fork").Process(target=die_at, args=(feed, point))
        child.start()
        child.join()
        delivered = [file.name for file in world.files() if file.name not in before]
        new = world.feed(every_time(VISITS))
        assert pull_whole(new) == pull_whole(new) == {}
        assert world.gyms() == expected
        again = [row[:3] for row in world.story()[5:]]
        # Five changes, in files of two; at most one file has been delivered and is not held.
        assert 5 <= len(again) <= 7
        assert len(set(again)) == len(again)
        assert {row[0] for row in again} <= {2, 3}
        ends.append((len(delivered), len(again)))
        if child.exitcode == 0:
            break
        assert child.exitcode == 9
    # Where nothing, some and all had been delivered, and where that was held and where not.
    assert set(ends) == {(0, 5), (1, 7), (1, 5), (2, 7), (2, 5), (3, 6), (3, 5)}


def die_at(feed: Pulls, point: int) -> None:
    """Pulls, and dies before the so-manieth thing that it does."""
    deeds = itertools.count()

    def mortal(do: Callable[..., Any]) -> Callable[..., Any]:
        def done(*arguments: Any) -> Any:
            if next(deeds) == point:
                os._exit(9)
            return do(*arguments)

        return done

    for place, name in (
        (state.State, "see"),
        (state.State, "expect"),
        (state.State, "hold"),
        (reader.Reader, "rows_of"),
        (pulls, "_sync"),
        (pulls, "_cost"),
    ):
        setattr(place, name, mortal(getattr(place, name)))
    pull_whole(feed)
    os._exit(0)


def test_what_becomes_of_rows_after_a_kill_is_told(world: World) -> None:
    """Be it that they are again what the state has held of them."""
    for number in range(5):
        world.visit(number)
    world.feed(every_time(VISITS)).pull()
    for number in (0, 7):
        world.visit(number, gym=2)
    world.execute("delete from gym_visits where id = 4")
    killed = mock.patch.object(state.State, "hold", side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        world.feed(every_time(VISITS)).pull()
    assert set(world.gyms()) == {"0", "1", "2", "3", "7"}
    world.execute("delete from gym_visits where id = 7")
    for number in (0, 4):
        world.visit(number)
    world.feed(every_time(VISITS)).pull()
    assert world.gyms() == {str(number): "1" for number in range(5)}


def test_the_feed_goes_on_as_long_as_a_pull_does(
    world: World, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the next load, which is due at once, goes on with it."""
    monkeypatch.setenv("LAKEHOUSE_POSTGRES_SBIT", world.server.reader)
    for number in range(6):
        world.visit(number)
    spark = mock.MagicMock()
    spark.sql.return_value.collect.return_value = [{"pull_id": 41}]
    tables = [table for table in DECLARED.values() if table.source == "sbit"]
    feed = PulledTables(spark, world.home, tables, SoFar(0, {}, {}))
    assert not feed.goes_on
    assert feed.waits_since([]) is None
    assert feed.news([]) == {}
    while feed.goes_on:
        assert feed.waits_since([]) is not None
        assert PulledTables.standing(world.home, tables)[0]["compared_at"] is None
        assert feed.news([]) == {}
    assert feed.waits_since([]) is None
    assert len(world.files()) == 3
    assert {row[0] for row in world.story()} == {42}


def test_where_the_memory_is_lost_all_rows_are_pulled_again(world: World) -> None:
    """Numbers grow all the same: over those of bronze, of landing and of the inbox."""
    world.visit(1)
    feed = world.feed()
    feed.pull()
    world.state().unlink()
    feed.pull()
    landing = world.home.landing / VISITS_FOLDER
    landing.mkdir(parents=True)
    (world.inbox() / "2.parquet").rename(landing / f"{'0' * 64}.2.parquet.parquet")
    (landing / "whatever.parquet").touch()
    (world.inbox() / "1.parquet").unlink()
    world.state().unlink()
    feed.pull()
    world.state().unlink()
    world.feed(at_least=41).pull()
    assert world.story() == [(3, "1", "upsert", "1"), (42, "1", "upsert", "1")]


def test_another_declaration_pulls_all_rows_again(world: World) -> None:
    """What waited in the old shape may have been refused."""
    world.visit(1, at=NOON - timedelta(days=1))
    world.visit(2)
    world.feed().pull()
    other = changed(VISITS, columns=(*VISITS.feeds["postgres"].columns, ("gym", "gym + 0")))
    again = world.feed(other)
    assert again.pull() == again.pull() == {}
    assert [row[:2] for row in world.story()] == [(1, "1"), (1, "2"), (2, "1"), (2, "2")]
    paced = changed(other, compare_every=timedelta(days=1), max_deleted_share=Decimal(1))
    world.feed(paced).pull()
    assert len(world.story()) == 4


def test_rows_are_held_up_to_a_number_of_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_BATCH_BYTES", 10)
    sizes = {"a": 4, "b": 6, "c": 11, "d": 1}
    with state.State.opened(tmp_path / "state") as own:
        own.see([(key, b"", size) for key, size in sizes.items()])
        batches = [change.keys for change in own.changes("upsert")]
    assert batches == [["a", "b"], ["c"], ["d"]]


FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "no table": ("drop table things", {}, "has no table public.things"),
    "no column": ("alter table things drop c0", {}, "has no column c0"),
    "no key": ("", {"key": ("no",)}, "has no column no"),
    "no change column": ("", {"changed_at": "no"}, "has no column no"),
    "no right": (
        "revoke select on things from lakehouse_reader",
        {},
        "permission denied for table things. Grant it, see deploy/postgres/reader.sql",
    ),
    "another type": (
        "alter table things alter c0 type numeric",
        {},
        "column c0 is numeric, which bigint does not hold as it is",
    ),
    "no expression": (
        "",
        {"columns": (("c0", "c0 +"),)},
        "syntax error .* Correct postgres in its declaration",
    ),
    "a function of somebody": (
        "create function own(bigint) returns bigint language sql return 1",
        {"columns": (("c0", "own(c0)"),)},
        r"function own\(bigint\) does not exist. Correct postgres",
    ),
    "keys twice": (
        "insert into things values (2, 6, 1, 'x')",
        {"key": ("c1",)},
        "several rows of public.things have one key",
    ),
    "no value as key": (
        "insert into things values (2, null, null, 'x')",
        {"key": ("c1",)},
        "has a row without c1",
    ),
    "a part without a value": (
        "insert into things values (2, null, null, 'x')",
        {"key": ("id", "c1")},
        "has a row without id or c1",
    ),
    "keys that do not last": (
        "drop table things; create view things as select random()::text as id, 5::bigint as c0, "
        "1::numeric as c1, 'a' as c2; grant select on things to lakehouse_reader",
        {},
        "0 rows of public.things have 1 keys",
    ),
    "too large": (
        "update things set c2 = repeat('x', 16777216)",
        {},
        "a row of public.things has 167772.. bytes; at most 16777216",
    ),
    "too many digits": (
        "update things set c1 = 1.005",
        {},
        r"column c1 has a value that decimal\(18,2\) does not hold",
    ),
    "no number": (
        "update things set c1 = 'NaN'",
        {},
        r"column c1 has a value that decimal\(18,2\) does not hold",
    ),
    "a value that fails": (
        "update things set c2 = 'Ada of secrecy'",
        {"columns": (("c0", "c2::bigint"),)},
        r"a value of public.things is none .* \(InvalidTextRepresentation\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_table_that_cannot_be_pulled_holds_up_no_other(world: World, fault: str) -> None:
    table = world.table_of(
        ("bigint", "bigint", "5"), ("decimal(18,2)", "numeric", "1"), ("string", "text", "'a'")
    )
    statement, changes, told = FAULTS[fault]
    if statement:
        world.execute(statement)
    world.visit(1)
    feed = world.feed(changed(table, **changes), VISITS)
    with pytest.raises(AssertionError, match=rf"sbit\.things: .*{told}") as caught:
        raise AssertionError(feed.pull()["sbit.things.pulled"])
    assert "\n" not in str(caught.value)
    assert "secrecy" not in str(caught.value)
    assert world.files(table) == []
    assert world.gyms() == {"1": "1"}
    assert feed.describe()[0]["rows"] == 0


def test_a_pull_changes_nothing_whoever_pulls(world: World) -> None:
    world.execute("create sequence numbers")
    world.visit(1)
    table = every_time(VISITS, columns=(("gym", "nextval('public.numbers')"),))
    [fault] = Pulls(world.home, [table], {"sbit": world.server.owner}).pull().values()
    assert "read-only transaction" in fault


def test_a_state_that_is_damaged(world: World) -> None:
    feed = world.feed()
    world.state().parent.mkdir(parents=True)
    world.state().write_bytes(b"no database, whatever it is" * 100)
    [fault] = feed.pull().values()
    assert "if it is damaged, remove it" in fault
    assert [table["note"] for table in feed.describe()] == [fault]
    with pytest.raises(PullError, match="if it is damaged"):
        feed.accept(VISITS.full_name)
    world.state().unlink()
    world.visit(1)
    assert feed.pull() == {}


def test_an_inbox_that_cannot_be_written(world: World) -> None:
    world.visit(1)
    world.home.inbox.mkdir(parents=True)
    world.inbox().write_text("in the way")
    feed = world.feed()
    [fault] = feed.pull().values()
    assert "Give the user that runs lakehouse the rights to write it" in fault
    world.inbox().unlink()
    assert feed.pull() == {}
    assert world.gyms() == {"1": "1"}


def test_a_password_is_told_to_nobody(
    world: World, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    world.execute("alter role lakehouse_reader password 'right'")
    caplog.set_level(logging.DEBUG)
    by_tcp = f"host=127.0.0.1 port={world.server.port} user=lakehouse_reader dbname=postgres"
    wrong = Pulls(world.home, [VISITS], {"sbit": f"{by_tcp} password=Hunter2"})
    [fault] = wrong.pull().values()
    assert "password authentication failed" in fault
    told = [fault, repr(wrong), caplog.text, *capfd.readouterr()]
    for conninfo in (
        f"{by_tcp} password=my Hunter2",
        f"{by_tcp} passwort=Hunter2",
        f"{by_tcp} password=my Hunter2=x",
        "postgresql://me:Hunter2@[host",
    ):
        with pytest.raises(PullError, match="LAKEHOUSE_POSTGRES_SBIT is no connection") as caught:
            Pulls(world.home, [VISITS], {"sbit": conninfo})
        told.append(str(caught.value))
    assert "Hunter2" not in "".join(told)
    right = Pulls(world.home, [VISITS], {"sbit": f"{by_tcp} password=right"})
    assert right.pull() == {}


@pytest.mark.parametrize(
    ("source", "conninfo", "told"),
    [
        ("sbit", "options=-cwork_mem=1GB", "has another key than these: host, hostaddr"),
        ("sbit", "service=shop", "has another key than these: host, hostaddr"),
        ("sbit", "sslkey=engine:x", "has another key than these: host, hostaddr"),
        ("shop", "", "LAKEHOUSE_POSTGRES_SHOP: no table of shop .* that have some: sbit"),
    ],
)
def test_what_is_no_connection_is_refused(
    tmp_path: Path, source: str, conninfo: str, told: str
) -> None:
    with pytest.raises(PullError, match=told):
        Pulls(Home(tmp_path), [VISITS], {source: f"host=localhost {conninfo}"})


def test_what_has_no_connection_is_not_pulled(tmp_path: Path) -> None:
    feed = Pulls(Home(tmp_path), [VISITS], {})
    assert feed.pull() == {}
    assert feed.describe() == []
    assert feed.accept("sbit.gym_logins") == []


def test_tables_can_be_left_out(world: World) -> None:
    """Of a source that is left out whole, the database is not asked."""
    world.visit(1)
    world.register()
    feed = world.feed(VISITS, REGISTRATIONS)
    with mock.patch.object(pulls, "snapshot", side_effect=AssertionError):
        assert feed.pull(but=[VISITS_FOLDER, REGISTRATIONS_FOLDER]) == {}
    assert feed.pull(but=[VISITS_FOLDER]) == {}
    assert world.files() == []
    assert len(world.rows(REGISTRATIONS)) == 1


def test_what_is_told_of_a_table(world: World) -> None:
    feed = world.feed()
    record = {"source": "sbit.gym_logins", "compared_at": None, "note": None}
    assert feed.describe() == [record | {"pull": 0, "rows": 0}]
    world.visit(1)
    world.visit(2)
    feed.pull()
    world.now += timedelta(minutes=1)
    feed.pull()
    assert feed.describe() == [record | {"pull": 1, "rows": 2, "compared_at": NOON}]


@pytest.mark.deep
def test_memory_is_bounded(world: World) -> None:
    """Of 180 MB in 300,000 rows: all of them, and a comparison that finds half of them changed."""
    table = world.table_of(("string", "text", "'a'"))
    world.execute("delete from things")
    world.visit(1)
    for pull, statement, num_pulled in (
        (
            1,
            "insert into things select n, md5(n::text) || repeat('x', 568) "
            "from generate_series(1, 300000) as n",
            300_000,
        ),
        (
            2,
            "delete from things where id = 1; update things set c0 = c0 || 'y' where id % 2 = 0",
            150_001,
        ),
    ):
        world.visit(1, gym=pull)
        world.execute(statement)
        spawned = multiprocessing.get_context("spawn")
        told, growth = spawned.Pipe(duplex=False)
        feeds = [world.feed(every_time(VISITS)), world.feed(table)]
        child = spawned.Process(target=measure_growth, args=(*feeds, growth))
        child.start()
        child.join()
        assert told.recv() < 90_000_000
        files = [file for file in world.inbox(table).iterdir() if file.stem[0] == str(pull)]
        assert sum(pq.ParquetFile(file).metadata.num_rows for file in files) == num_pulled


def measure_growth(small: Pulls, large: Pulls, growth: Any) -> None:
    """Sends by how many bytes the most memory ever used has grown from a small pull to a large."""
    assert small.pull() == {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert pull_whole(large) == {}
    growth.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


SHARE_FROM = 5
IDS = st.integers(0, 11)
GYMS = st.integers(1, 3)


class Anything(RuleBasedStateMachine):
    """Whatever happens in a database: after a comparison the pulled rows are those that it has."""

    server: Server

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()
        self.world = World(
            self.server, Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        )
        self._stack.callback(self.world.database.close)
        for module, name, value in (
            (pulls, "_now", lambda: self.world.now),
            (pulls, "_MIN_ROWS_OF_SHARE", SHARE_FROM),
            (reader, "OVERLAP_MINUTES", 0),
            *SMALL_STEPS,
        ):
            self._stack.enter_context(mock.patch.object(module, name, value))
        self.late = self._stack.enter_context(self.server.connect())
        self.is_late = False
        self.at = self.latest = NOON
        self.feed = self.world.feed()
        self.files: set[Path] = set()
        self.held: set[int] = set()
        self.must_be_seen: set[int] = set()
        # Of the pull under way: the database as it began, what it must see, whether it compares.
        self.began: tuple[dict[int, str], set[int], bool] | None = None

    def teardown(self) -> None:
        if self.is_late:
            self.late.execute("rollback")
        self._stack.close()

    @rule(number=IDS, gym=GYMS)
    def upsert(self, number: int, gym: int) -> None:
        self.world.visit(number, gym, self.at)
        if self.at >= self.latest:
            self.must_be_seen.add(number)
        else:
            self.must_be_seen.discard(number)
        self.latest = max(self.at, self.latest)

    @rule(number=IDS, gym=GYMS)
    def update_silently(self, number: int, gym: int) -> None:
        self.world.execute("update gym_visits set gym = %s where id = %s", (gym, number))

    @rule(numbers=st.sets(IDS, min_size=1))
    def delete(self, numbers: set[int]) -> None:
        self.world.execute("delete from gym_visits where id = any(%s)", (list(numbers),))
        self.must_be_seen -= numbers

    @rule(minutes=st.sampled_from([-90, -1, 1, 90]))
    def set_the_clock(self, minutes: int) -> None:
        self.at += timedelta(minutes=minutes)

    @rule(number=st.integers(20, 22), gym=GYMS)
    def write_for_long(self, number: int, gym: int) -> None:
        if not self.is_late:
            self.late.execute("begin")
            self.is_late = True
        self.world.visit(number, gym, self.at, by=self.late)
        self.latest = max(self.at, self.latest)

    @precondition(lambda self: self.is_late)
    @rule(how=st.sampled_from(["commit", "rollback"]))
    def end(self, how: str) -> None:
        self.late.execute(how)
        self.is_late = False

    @rule(minutes=st.sampled_from([1, 60]))
    def pull(self, minutes: int) -> None:
        """A step; whatever comes next happens between two."""
        if self.began is None:
            self.world.now += timedelta(minutes=minutes)
            self.began = self.here(), self.must_be_seen, minutes == 60
            self.must_be_seen = set()
        here, must_be_seen, compares = self.began
        faults = self.feed.pull()
        if faults:
            gone = self.held - set(here)
            assert gone == self.held or (
                len(self.held) >= SHARE_FROM and 5 * len(gone) > len(self.held)
            )
            assert self.new_rows() == []
            assert self.feed.accept(VISITS.full_name)
            self.must_be_seen |= must_be_seen & set(self.here())
            self.began = None
            return
        for row in self.new_rows():
            assert here.get(int(row["_pull_key"])) == row["gym"]
        if not self.feed.goes_on:
            there = self.there()
            assert {number: here[number] for number in must_be_seen}.items() <= there.items()
            assert there == here or not compares
            self.began = None

    @rule()
    def pull_whole(self) -> None:
        self.pull(60)
        while self.began:
            self.pull(60)

    @rule(is_in_a_step=st.booleans())
    def be_killed(self, is_in_a_step: bool) -> None:
        if is_in_a_step:
            with (
                mock.patch.object(state.State, "hold", side_effect=KeyboardInterrupt),
                contextlib.suppress(KeyboardInterrupt),
            ):
                pull_whole(self.feed)
        self.new_rows()
        if self.began:
            self.must_be_seen |= self.began[1] & set(self.here())
        self.began = None
        self.feed = self.world.feed()

    def new_rows(self) -> list[dict[str, Any]]:
        """The rows of files that have come since, whose numbers are not lower than all before."""
        new = set(self.world.inbox().glob("*")) - self.files
        last = max((number_of(file) for file in self.files), default=(0, 0))
        assert all(number_of(file) > last for file in new)
        self.files |= new
        rows = [
            row for file in sorted(new, key=number_of) for row in pq.read_table(file).to_pylist()
        ]
        for row in rows:
            change = self.held.add if row["_op"] == "upsert" else self.held.discard
            change(int(row["_pull_key"]))
        return rows

    def there(self) -> dict[int, str]:
        """What is left of the pulled rows; those of a killed step come twice."""
        files = sorted(self.files, key=number_of)
        rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        return {int(key): row["gym"] for key, row in present(rows).items()}

    def here(self) -> dict[int, str]:
        rows = self.world.execute("select id, gym from gym_visits")
        return {number: str(gym) for number, gym in rows}


def number_of(file: Path) -> tuple[int, int]:
    pull, _, part = file.stem.partition("-")
    return int(pull), int(part or 1)


@pytest.mark.deep
def test_whatever_happens(server: Server) -> None:
    run_state_machine_as_test(
        type("OfThisServer", (Anything,), {"server": server}),
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


def test_the_simulation_writes_down_what_pulls_bring(
    world: World,
) -> None:
    """Also where tables stop and go on."""
    wearables, dice = DOMAINS["wearables"], random.Random(1)
    changes = wearables.changes(1, {"minutes": 60, "users": 5})
    told = Database(world.server, wearables.pulled)
    feed = world.feed(VISITS, REGISTRATIONS)
    happened: set[str] = set()
    files: list[File] = []
    for _ in range(40):
        told.change(dice.choice(changes))
        if dice.random() < 0.3:
            for table in told.accept():
                happened.update(line.split()[1] for line in feed.accept(table))
        files += told.see(world.home.checkpoints)
        happened.update("stopped" for _ in pull_whole(feed))
    for table in (VISITS, REGISTRATIONS):
        expected = [
            row
            for file in files
            if file.full_name.startswith(table.full_name)
            for row in pq.read_table(BytesIO(file.content)).to_pylist()
        ]
        assert as_seen(world.rows(table)) == as_seen(expected)
        happened.update(row["_op"] for row in expected)
    assert happened == {"accepted,", "stopped", "upsert", "delete"}


def as_seen(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Pulled rows in order, without their moment, and with their times as numbers."""
    times = ("registration_timestamp", "login", "logout")
    return [
        {
            name: Decimal(value) if value and name in times else value
            for name, value in row.items()
            if name != "_pulled_at"
        }
        for row in sorted(rows, key=lambda row: (row["_pull_id"], row["_pull_key"]))
    ]
