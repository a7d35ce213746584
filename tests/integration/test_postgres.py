"""Pulls from a real PostgreSQL, with the role of `deploy/postgres/reader.sql`."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import random
import resource
import shutil
import tempfile
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
from ingestion.feeds.postgres import pulls as postgres
from ingestion.feeds.postgres.declared import Postgres, pulled_part
from ingestion.feeds.postgres.pulls import PullError, Pulls
from ingestion.home import Home
from lakehouse.settings import PROJECT
from tests.simulation.database import Database
from tests.support.domains import DOMAINS, File
from tests.support.postgres import Server, running_server

DECLARED = read_declarations(PROJECT / "models")
VISITS = DECLARED["sbit.gym_logins"]
REGISTRATIONS = DECLARED["sbit.registered_users"]
READER = (PROJECT / "deploy" / "postgres" / "reader.sql").read_text()
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
"""
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAC = "64:5a:04:0b:c1:7f"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def database(server: Server) -> Iterator[psycopg.Connection[Any]]:
    """The owner of a database with the two tables, both empty, and the role."""
    with server.connect() as connection:
        connection.execute(TABLES)
        connection.execute(READER)
        yield connection


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


class Clock:
    """The lakehouse's clock, which a test moves."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(postgres, "_now", clock)
    return clock


def every_time(table: SourceTable, **changes: Any) -> SourceTable:
    """The table as one of which each pull compares all rows."""
    spec = replace(table.feeds["postgres"], compare_every=None, **changes)
    return replace(table, feeds={"postgres": spec})


def pulls(home: Home, server: Server, *tables: SourceTable, at_least: int = 0) -> Pulls:
    return Pulls(home, tables or (VISITS,), {"sbit": server.reader}, at_least)


def visit(
    database: psycopg.Connection[Any], visit_id: int, gym: int = 1, at: datetime = NOON
) -> None:
    """A visit as it is from this moment on."""
    database.execute(
        "insert into gym_visits values (%s, %s, %s, %s, null, %s) on conflict (id) "
        "do update set gym = excluded.gym, updated_at = excluded.updated_at",
        (visit_id, MAC, gym, NOON, at),
    )


def pulled_files(home: Home, table: SourceTable = VISITS) -> list[Path]:
    """The files of a pulled table, each of which the gate lets in, in the order of the pulls."""
    part = pulled_part(table)
    assert part is not None
    inbox = home.inbox / f"{table.full_name}.pulled"
    files = list(inbox.iterdir()) if inbox.exists() else []
    for file in files:
        assert not gate.is_still_written(file.name)
        inspection = gate.inspect(file, part, inbox)
        assert inspection.reason is None
        assert inspection.num_rows
    return sorted(files, key=lambda file: tuple(map(int, file.stem.split("-"))))


def pulled_rows(home: Home, table: SourceTable = VISITS) -> list[dict[str, Any]]:
    return [row for file in pulled_files(home, table) for row in pq.read_table(file).to_pylist()]


def present(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows that are left when the pulled ones are played in their order."""
    state: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: cast(int, row["_pull_id"])):
        if row["_op"] == "delete":
            del state[row["_pull_key"]]
        else:
            state[row["_pull_key"]] = row
    return state


def gyms(home: Home) -> dict[str, str]:
    """The present gym of each visit."""
    return {key: row["gym"] for key, row in present(pulled_rows(home)).items()}


def story(home: Home) -> list[tuple[int, str, str, str | None]]:
    """Of each pulled visit pull, key, operation and gym."""
    return [
        (row["_pull_id"], row["_pull_key"], row["_op"], row["gym"]) for row in pulled_rows(home)
    ]


def test_the_declared_tables_are_pulled(
    home: Home, server: Server, database: psycopg.Connection[Any], clock: Clock
) -> None:
    database.execute(
        "insert into registrations values (7, 1, 2, '64-5A-04-0B-C1-7F', "
        "'2026-02-03 04:05:06.5+00', now())"
    )
    visit(database, 8)
    assert pulls(home, server, VISITS, REGISTRATIONS).pull() == {}
    [registration] = pulled_rows(home, REGISTRATIONS)
    assert registration == {
        "user_id": "1",
        "device_id": "2",
        "mac_address": MAC,
        "registration_timestamp": "1770091506.5",
        "_pull_key": "7",
        "_pull_id": 1,
        "_pulled_at": NOON,
        "_op": "upsert",
    }
    [row] = pulled_rows(home)
    assert row == {
        "mac_address": MAC,
        "gym": "1",
        "login": "1772366400",
        "logout": None,
        "_pull_key": "8",
        "_pull_id": 1,
        "_pulled_at": NOON,
        "_op": "upsert",
    }


def test_a_pull_without_changes_leaves_no_file(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    for gym, table in enumerate((VISITS, every_time(VISITS))):
        visit(database, 1, gym)
        feed = pulls(home, server, table)
        feed.pull()
        feed.pull()
    assert [file.name for file in pulled_files(home)] == ["1.parquet", "2.parquet"]


def test_the_role_can_do_nothing_else(server: Server, database: psycopg.Connection[Any]) -> None:
    database.execute("create table secret (a int)")
    refused = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
    for statement in (
        "select * from secret",
        "begin read write; delete from gym_visits",
        "begin read write; create table own (a int)",
        "begin read write; create role other",
    ):
        with psycopg.connect(server.reader) as reader, pytest.raises(refused):
            reader.execute(statement)


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


def table_of(database: psycopg.Connection[Any], *types: tuple[str, str, str]) -> SourceTable:
    """A table `things` with a column for each (declared type, type, value), and its declaration."""
    columns = ", ".join(f"c{index} {kind}" for index, (_, kind, _) in enumerate(types))
    database.execute(f"create table things (id int primary key, {columns})")
    values = ", ".join(value for _, _, value in types)
    database.execute(f"insert into things values (1, {values})")
    database.execute("grant select on things to lakehouse_reader")
    return SourceTable(
        source="sbit",
        name="things",
        identifier="sbit_things",
        columns=tuple(
            Column(f"c{index}", declared) for index, (declared, _, _) in enumerate(types)
        ),
        format="parquet",
        key=("c0",),
        unknown_columns="fail",
        feeds={"postgres": Postgres(("public", "things"), ("id",))},
    )


def test_types_are_kept(home: Home, server: Server, database: psycopg.Connection[Any]) -> None:
    database.execute("alter role lakehouse_reader set timezone = 'Asia/Kathmandu'")
    database.execute("alter role lakehouse_reader set datestyle = 'SQL, DMY'")
    table = table_of(database, *((declared, kind, value) for declared, kind, value, _ in TYPES))
    assert pulls(home, server, table).pull() == {}
    [row] = pulled_rows(home, table)
    assert [row[f"c{index}"] for index in range(len(TYPES))] == [value for *_, value in TYPES]
    schema = pq.read_schema(pulled_files(home, table)[0])
    assert schema.field("_pull_id").type == pa.int64()
    assert schema.field("_pulled_at").type == pa.timestamp("us", "UTC")
    assert schema.field("c3").type == pa.int64()
    assert schema.field("c23").type == pa.string()


def test_times_beyond_those_of_python_are_kept(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    table = table_of(
        database,
        ("timestamp", "timestamptz", "'4713-01-01 00:00:00+00 BC'"),
        ("timestamp", "timestamptz", "'200000-01-01 00:00:00+00'"),
        ("date", "date", "'4713-01-01 BC'"),
    )
    assert pulls(home, server, table).pull() == {}
    rows = pq.read_table(pulled_files(home, table)[0])
    # By the Julian day numbers 1721426 of 0001-01-01 and 38 of 4713-01-01 BC (Gregorian).
    first = 38 - 1721426 - 719162
    assert rows["c0"].cast(pa.int64()).to_pylist() == [first * 86_400_000_000]
    # 500 times 400 years are 146097 days each.
    assert rows["c1"].cast(pa.int64()).to_pylist() == [
        (500 * 146_097 - (2000 * 146_097 // 400) + 10_957) * 86_400_000_000
    ]
    assert rows["c2"].cast(pa.int32()).to_pylist() == [first]


def test_null_and_empty_are_apart(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    """Also where a row is compared with what it was."""
    table = table_of(database, ("string", "text", "null"), ("string", "text", "''"))
    feed = pulls(home, server, table)
    rows = [(None, ""), ("", None), ("", ""), ("null", ""), ("", ","), (",", ""), ('"', '""')]
    for row in rows:
        database.execute("update things set (c0, c1) = (%s, %s)", row)
        assert feed.pull() == {}
    assert [(row["c0"], row["c1"]) for row in pulled_rows(home, table)] == rows


def test_a_pull_that_fails_leaves_nothing(
    home: Home, server: Server, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_BATCH_ROWS", 1)
    table = table_of(database, ("decimal(18,2)", "numeric", "1"))
    database.execute("insert into things values (2, 1.005)")
    feed = pulls(home, server, table)
    assert len(feed.pull()) == 1
    assert list((home.inbox / "sbit.things.pulled").iterdir()) == []
    database.execute("update things set c0 = 2 where id = 2")
    assert feed.pull() == {}
    assert len(present(pulled_rows(home, table))) == 2


def test_expressions_are_sql_over_a_row(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    table = table_of(database, ("bigint", "bigint", "14"), ("string", "text", "'50%s {}'"))
    columns = (("c0", 'c0 % 10 -- of "ten"\n'), ("c1", "case when c1 like '%s {}' then c1 end"))
    table = replace(table, feeds={"postgres": replace(table.feeds["postgres"], columns=columns)})
    assert pulls(home, server, table).pull() == {}
    [row] = pulled_rows(home, table)
    assert (row["c0"], row["c1"]) == (4, "50%s {}")


def test_a_deleted_row_keeps_what_its_key_is_made_of(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    table = table_of(
        database,
        ("bigint", "bigint", "-5"),
        ("timestamp", "timestamptz", "'2026-03-01 12:00+00'"),
        ("string", "text", "'a'"),
        ("string", "text", "'b'"),
    )
    database.execute("insert into things select 2, 6, now(), 'c', 'd'")
    spec = Postgres(("public", "things"), ("c1", "c0", "c3"), columns=(("c3", "'other'"),))
    feed = pulls(home, server, replace(table, feeds={"postgres": spec}))
    feed.pull()
    database.execute("delete from things where c0 = -5")
    assert feed.pull() == {}
    [row] = [row for row in pulled_rows(home, table) if row["_op"] == "delete"]
    assert row["_pull_key"] == '["2026-03-01 12:00:00+00", "-5", "b"]'
    assert [row[f"c{index}"] for index in range(4)] == [-5, NOON, None, None]


def test_a_deleted_key_is_forgotten(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    """A key may tell of a person."""
    table = table_of(database, ("string", "text", "'Ada Planted'"))
    database.execute("insert into things values (2, 'Another')")
    table = replace(table, feeds={"postgres": replace(table.feeds["postgres"], key=("c0",))})
    feed = pulls(home, server, table)
    feed.pull()
    database.execute("delete from things where c0 = 'Ada Planted'")
    feed.pull()
    [state] = [path for path in home.checkpoints.rglob("*") if path.is_file()]
    assert b"Another" in state.read_bytes()
    assert b"Planted" not in state.read_bytes()


def test_databases_of_other_encodings(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    for number, (encoding, is_pulled) in enumerate({"LATIN1": True, "SQL_ASCII": False}.items()):
        name = encoding.lower()
        database.execute(f"create database {name} template template0 encoding '{encoding}'")
        owner = server.owner.replace("dbname=postgres", f"dbname={name}")
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute("set client_encoding = 'LATIN1'")
            connection.execute("create table things (id int primary key, name text)")
            connection.execute("grant select on things to lakehouse_reader")
            text = "E'\\xe9'" if encoding == "SQL_ASCII" else "'é'"
            connection.execute(f"insert into things values (1, {text})")
        table = SourceTable(
            "sbit", f"things{number}", f"sbit_things{number}", (Column("name", "string"),), "csv",
            ("name",), "fail", feeds={"postgres": Postgres(("public", "things"), ("id",))},
        )  # fmt: skip
        reader = server.reader.replace("dbname=postgres", f"dbname={name}")
        faults = Pulls(home, [table], {"sbit": reader}).pull()
        database.execute(f"drop database {name} with (force)")
        if is_pulled:
            assert [row["name"] for row in pulled_rows(home, table)] == ["é"]
        else:
            assert "is none that its column or expression can be (Char" in str(faults)


def test_every_character_is_kept(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    """As value and as key; PostgreSQL holds all but NUL and the surrogates."""
    codes = [*range(1, 0xD800), *range(0xE000, 0x110000)]
    texts = ["".join(map(chr, codes[at : at + 5000])) for at in range(0, len(codes), 5000)]
    texts += [chr(code) for code in range(1, 0x300)] + ["%s", "{}", "'", '"', "\\", "\r\n", ""]
    database.execute(
        "create table texts (part text, number int, value text, primary key (part, number))"
    )
    database.execute("grant select on texts to lakehouse_reader")
    with database.cursor().copy("copy texts from stdin") as copy:
        for number, text in enumerate(texts):
            copy.write_row((text[:300], number, text))
    table = SourceTable(
        source="sbit",
        name="texts",
        identifier="sbit_texts",
        columns=(Column("part", "string"), Column("value", "string")),
        format="csv",
        key=("part",),
        unknown_columns="fail",
        feeds={
            "postgres": Postgres(
                ("public", "texts"), ("part", "number"), max_deleted_share=Decimal(1)
            )
        },
    )
    feed = pulls(home, server, table)
    assert feed.pull() == {}
    rows = pulled_rows(home, table)
    assert sorted(row["value"] for row in rows) == sorted(texts)
    database.execute("delete from texts where number <> 0")
    assert feed.pull() == {}
    deleted = [row for row in pulled_rows(home, table) if row["_op"] == "delete"]
    assert sorted(row["part"] for row in deleted) == sorted(text[:300] for text in texts[1:])
    assert {row["value"] for row in deleted} == {None}
    assert len(present(pulled_rows(home, table))) == 1


def test_only_what_has_changed_is_pulled(
    home: Home,
    server: Server,
    database: psycopg.Connection[Any],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two rows have the time of the last pull, one of which it did not see yet."""
    monkeypatch.setattr(postgres, "OVERLAP_MINUTES", 0)
    feed = pulls(home, server)
    visit(database, 1)
    visit(database, 2)
    feed.pull()
    visit(database, 3)
    visit(database, 2, gym=5, at=NOON + timedelta(seconds=1))
    feed.pull()
    feed.pull()
    assert story(home) == [
        (1, "1", "upsert", "1"),
        (1, "2", "upsert", "1"),
        (2, "2", "upsert", "5"),
        (2, "3", "upsert", "1"),
    ]


def test_between_comparisons_old_rows_are_not_read(
    home: Home,
    server: Server,
    database: psycopg.Connection[Any],
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for number in range(100):
        visit(database, number, at=NOON - timedelta(minutes=number))
    feed = pulls(home, server)
    feed.pull()
    seen: list[Any] = []
    see = postgres._State.see
    monkeypatch.setattr(postgres._State, "see", lambda state, rows: see(state, tee(rows, seen)))
    feed.pull()
    assert len(seen) == 6  # those of the last five minutes, and the one five minutes old
    clock.now += timedelta(hours=1)
    feed.pull()
    assert len(seen) == 106


def tee(rows: Iterable[Any], into: list[Any]) -> Iterator[Any]:
    for row in rows:
        into.append(row)
        yield row


def test_one_snapshot_for_all_tables(
    home: Home, server: Server, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row is changed when its digest has been read, and another table before it is."""
    see = postgres._State.see
    tables = (every_time(VISITS), every_time(REGISTRATIONS))
    visit(database, 1, gym=1)

    def see_and_change(state: Any, rows: Any) -> None:
        see(state, rows)
        visit(database, 1, gym=2)
        database.execute("insert into registrations (id) values (1) on conflict do nothing")

    monkeypatch.setattr(postgres._State, "see", see_and_change)
    feed = pulls(home, server, *tables)
    assert feed.pull() == {}
    assert gyms(home) == {"1": "1"}
    assert pulled_files(home, REGISTRATIONS) == []
    monkeypatch.undo()
    assert feed.pull() == {}
    assert gyms(home) == {"1": "2"}
    assert len(pulled_rows(home, REGISTRATIONS)) == 1


def test_there_and_back_again(
    home: Home, server: Server, database: psycopg.Connection[Any], clock: Clock
) -> None:
    feed = pulls(home, server)
    for seconds, gym in enumerate((1, 2, 1)):
        visit(database, 1, gym, NOON + timedelta(seconds=seconds))
        feed.pull()
    visit(database, 1, 2, NOON + timedelta(seconds=8))
    visit(database, 1, 1, NOON + timedelta(seconds=9))
    feed.pull()  # twice between two pulls, and back: there is nothing to tell
    assert [(row[0], row[3]) for row in story(home)] == [(1, "1"), (2, "2"), (3, "1")]


def test_deleted_and_back(
    home: Home, server: Server, database: psycopg.Connection[Any], clock: Clock
) -> None:
    feed = pulls(home, server)
    visit(database, 1)
    visit(database, 2)
    feed.pull()
    database.execute("delete from gym_visits where id = 1")
    feed.pull()
    assert gyms(home) == {"1": "1", "2": "1"}  # deletes are found by comparisons
    clock.now += timedelta(hours=1)
    feed.pull()
    assert gyms(home) == {"2": "1"}
    visit(database, 1)
    feed.pull()
    assert gyms(home) == {"1": "1", "2": "1"}
    assert story(home)[2:] == [(2, "1", "delete", None), (3, "1", "upsert", "1")]


def test_the_clock_of_the_database_is_set_back(
    home: Home, server: Server, database: psycopg.Connection[Any], clock: Clock
) -> None:
    """What was pulled last counts, whatever the change column says."""
    feed = pulls(home, server)
    visit(database, 1, gym=1, at=NOON)
    feed.pull()
    visit(database, 1, gym=2, at=NOON - timedelta(days=1))
    clock.now += timedelta(hours=1)
    feed.pull()
    assert story(home) == [(1, "1", "upsert", "1"), (2, "1", "upsert", "2")]
    clock.now -= timedelta(days=1)  # nor does it matter what our own clock says
    visit(database, 1, gym=3, at=NOON - timedelta(days=2))
    feed.pull()
    assert gyms(home) == {"1": "3"}


def test_a_time_of_the_future_does_not_hide_the_present(
    home: Home, server: Server, database: psycopg.Connection[Any], clock: Clock
) -> None:
    feed = pulls(home, server)
    visit(database, 1, at=NOON + timedelta(days=365_000))
    feed.pull()
    database.execute("insert into gym_visits (id, gym, updated_at) values (2, 9, now())")
    feed.pull()
    feed.pull()
    assert story(home) == [(1, "1", "upsert", "1"), (2, "2", "upsert", "9")]


@pytest.mark.parametrize(
    ("lasted", "is_seen_at_once"), [(timedelta(minutes=3), True), (timedelta(hours=3), False)]
)
def test_a_transaction_that_commits_late(  # noqa: PLR0917
    home: Home,
    server: Server,
    database: psycopg.Connection[Any],
    clock: Clock,
    lasted: timedelta,
    is_seen_at_once: bool,
) -> None:
    feed = pulls(home, server)
    visit(database, 1)
    with server.connect() as other:
        with other.transaction():
            visit(other, 2, at=NOON - lasted)
            feed.pull()
        assert set(gyms(home)) == {"1"}
    feed.pull()
    assert ("2" in gyms(home)) == is_seen_at_once
    clock.now += timedelta(hours=1)
    feed.pull()
    feed.pull()
    assert [row[1] for row in story(home)] == ["1", "2"]


def test_an_update_that_leaves_the_change_column_alone(
    home: Home, server: Server, database: psycopg.Connection[Any], clock: Clock
) -> None:
    feed = pulls(home, server)
    for number in (1, 2):
        visit(database, number, at=NOON - timedelta(days=number))
    database.execute("insert into gym_visits (id, gym) values (3, 1)")  # without a time at all
    feed.pull()
    database.execute("update gym_visits set gym = 7 where id >= 2")
    feed.pull()
    assert gyms(home) == {"1": "1", "2": "1", "3": "1"}
    clock.now += timedelta(hours=1)
    feed.pull()
    assert gyms(home) == {"1": "1", "2": "7", "3": "7"}


def test_a_table_that_empties_is_stopped(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    feed = pulls(home, server, every_time(VISITS), every_time(REGISTRATIONS))
    for number in range(3):
        visit(database, number)
    feed.pull()
    database.execute("truncate gym_visits")
    visit(database, 9)
    database.execute("insert into registrations (id) values (1)")
    with pytest.raises(PullError, match="is not stopped"):
        feed.accept(VISITS.full_name)
    for _ in range(2):
        assert feed.pull() == {
            "sbit.gym_logins.pulled": "sbit.gym_logins: 3 of 3 rows are gone from "
            "public.gym_visits; nothing of it is pulled. Put them back, or, if they are to be "
            "deleted here too: lakehouse accept sbit.gym_logins"
        }
    assert set(gyms(home)) == {"0", "1", "2"}
    assert len(pulled_rows(home, REGISTRATIONS)) == 1
    stopped = [table.stopped for table in feed.describe()]
    assert stopped == ["3 of 3 rows are gone from public.gym_visits", None]
    assert "accepted" in feed.accept(VISITS.full_name)
    assert feed.pull() == {}
    assert set(gyms(home)) == {"9"}
    assert [table.stopped for table in feed.describe()] == [None, None]
    database.execute("truncate gym_visits")
    assert list(feed.pull()) == ["sbit.gym_logins.pulled"]  # it was accepted once


@pytest.mark.parametrize(
    ("num_rows", "num_deleted", "is_stopped"),
    [(19, 18, False), (19, 19, True), (20, 4, False), (20, 5, True), (1, 1, True), (35, 7, False)],
)
def test_how_many_may_be_deleted_unasked(  # noqa: PLR0917
    home: Home,
    server: Server,
    database: psycopg.Connection[Any],
    num_rows: int,
    num_deleted: int,
    is_stopped: bool,
) -> None:
    feed = pulls(home, server, every_time(VISITS))
    for number in range(num_rows):
        visit(database, number)
    feed.pull()
    database.execute("delete from gym_visits where id < %s", (num_deleted,))
    assert bool(feed.pull()) == is_stopped
    assert len(gyms(home)) == num_rows - (0 if is_stopped else num_deleted)


def test_rows_that_come_back_end_a_stop(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    feed = pulls(home, server, every_time(VISITS))
    visit(database, 1)
    feed.pull()
    database.execute("delete from gym_visits")
    assert feed.pull()
    visit(database, 1)
    assert feed.pull() == {}
    with pytest.raises(PullError, match="is not stopped"):
        feed.accept(VISITS.full_name)


def test_a_server_that_is_down_and_comes_back(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    """Another source is pulled all the same."""
    visit(database, 1)
    elsewhere = replace(REGISTRATIONS, source="other")
    with running_server() as other:
        with other.connect() as connection:
            connection.execute(TABLES + READER)
            connection.execute("insert into registrations (id) values (1)")
        feed = Pulls(home, [VISITS, elsewhere], {"sbit": server.reader, "other": other.reader})
        server.stop()
        try:
            faults = feed.pull()
        finally:
            server.start()
        assert list(faults) == ["sbit.gym_logins.pulled"]
        [fault] = faults.values()
        assert fault.startswith("sbit: the database cannot be asked: ")
        assert fault.endswith("or correct LAKEHOUSE_POSTGRES_SBIT; the next pull goes on")
        assert "\n" not in fault
        assert len(pulled_rows(home, elsewhere)) == 1
        assert feed.pull() == {}
        assert gyms(home) == {"1": "1"}


def test_a_server_that_restarts_in_the_middle(
    home: Home,
    server: Server,
    database: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The table that was done before stays done; of the other nothing is left."""
    see = postgres._State.see
    visit(database, 1)
    database.execute("insert into registrations (id) values (1)")
    feed = pulls(home, server, VISITS, REGISTRATIONS)
    num_seen = 0

    def see_and_restart(state: Any, rows: Any) -> None:
        nonlocal num_seen
        see(state, rows)
        num_seen += 1
        if num_seen == 2:
            server.restart()

    monkeypatch.setattr(postgres._State, "see", see_and_restart)
    assert list(feed.pull()) == ["sbit.registered_users.pulled"]
    assert caplog.text == ""
    assert gyms(home) == {"1": "1"}
    assert pulled_files(home, REGISTRATIONS) == []
    monkeypatch.undo()
    assert feed.pull() == {}
    assert len(pulled_rows(home, REGISTRATIONS)) == 1
    assert len(story(home)) == 1


def test_a_slow_statement_is_ended(
    home: Home, server: Server, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STATEMENT_SECONDS", 1)
    visit(database, 1)
    database.execute("insert into registrations (id) values (1)")
    slow = every_time(REGISTRATIONS, columns=(("registration_timestamp", "pg_sleep(600)"),))
    faults = pulls(home, server, slow, VISITS).pull()
    assert list(faults) == ["sbit.registered_users.pulled"]
    assert "took more than 1 s for a statement" in faults["sbit.registered_users.pulled"]
    assert gyms(home) == {"1": "1"}


def test_a_locked_table_is_not_waited_for(
    home: Home,
    server: Server,
    database: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "LOCK_SECONDS", 1)
    visit(database, 1)
    feed = pulls(home, server, REGISTRATIONS, VISITS)
    with server.connect() as other, other.transaction():
        other.execute("lock table registrations in access exclusive mode")
        faults = feed.pull()
    assert list(faults) == ["sbit.registered_users.pulled"]
    assert "public.registrations has been locked by another for 1 s" in str(faults)
    assert gyms(home) == {"1": "1"}
    assert feed.pull() == {}


def test_a_server_that_does_not_say_a_word(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    feed = Pulls(home, [VISITS], {"sbit": f"{server.reader} connect_timeout=2"})
    with server.frozen():
        [fault] = feed.pull().values()
    assert "sbit: the database cannot be asked: " in fault
    assert feed.pull() == {}


def test_a_server_that_falls_silent(
    home: Home, server: Server, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot even end its own statement any more."""
    monkeypatch.setattr(postgres, "STATEMENT_SECONDS", 1)
    monkeypatch.setattr(postgres, "_GRACE_SECONDS", 0.5)
    see = postgres._State.see
    visit(database, 1)
    feed = pulls(home, server)
    backend: list[psutil.Process] = []

    def silence_and_see(state: Any, rows: Any) -> None:
        [[pid]] = database.execute(
            "select pid from pg_stat_activity where application_name = 'lakehouse' "
            "order by backend_start desc limit 1"
        )
        backend.append(psutil.Process(pid))
        backend[0].suspend()
        see(state, rows)

    monkeypatch.setattr(postgres._State, "see", silence_and_see)
    try:
        [fault] = feed.pull().values()
    finally:
        backend[0].resume()
    assert "sbit: the database cannot be asked: it has not answered for 1.5 s" in fault
    monkeypatch.undo()
    assert feed.pull() == {}
    assert gyms(home) == {"1": "1"}


@pytest.mark.parametrize(("where", "num_delivered"), [("rows_of", 0), ("hold_what_was_seen", 2)])
def test_a_kill_before_and_after_the_file(  # noqa: PLR0917
    home: Home,
    server: Server,
    database: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    num_delivered: int,
) -> None:
    """The same rows come again, under a higher number; half a file is never seen."""
    visit(database, 1)
    feed = pulls(home, server)
    feed.pull()
    visit(database, 1, gym=2, at=NOON + timedelta(seconds=1))
    visit(database, 2)
    monkeypatch.setattr(postgres, "_BATCH_ROWS", 1)
    child = multiprocessing.get_context("fork").Process(target=pull_and_die, args=(feed, where))
    child.start()
    child.join()
    assert child.exitcode == 9
    assert len(list((home.inbox / "sbit.gym_logins.pulled").glob("[0-9]*"))) == (
        1 + num_delivered // 2
    )
    assert feed.pull() == {}
    upserts = [("1", "upsert", "2"), ("2", "upsert", "1")]
    assert story(home) == [
        (1, "1", "upsert", "1"),
        *((2, *row) for row in upserts[:num_delivered]),
        *((3, *row) for row in upserts),
    ]
    assert feed.pull() == {}
    assert [table.pull_id for table in feed.describe()] == [3]


def pull_and_die(feed: Pulls, where: str) -> None:
    """Dies at the second batch of rows, or when the file has its name."""
    rows_of = postgres._Reader.rows_of

    def rows_of_first(reader: Any, keys: Any) -> Any:
        if keys == ["2"]:
            os._exit(9)
        return rows_of(reader, keys)

    if where == "rows_of":
        postgres._Reader.rows_of = rows_of_first  # type: ignore[assignment, method-assign]
    else:
        postgres._State.hold_what_was_seen = (  # type: ignore[method-assign]
            lambda *_, **__: os._exit(9)
        )
    feed.pull()


def test_where_the_memory_is_lost_all_rows_are_pulled_again(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    """Numbers grow all the same: over those of bronze, of landing and of the inbox."""
    visit(database, 1)
    feed = pulls(home, server)
    state = home.checkpoints / "sbit.gym_logins.pulled"
    feed.pull()
    shutil.rmtree(state)
    feed.pull()
    inbox = home.inbox / "sbit.gym_logins.pulled"
    landing = home.landing / "sbit.gym_logins.pulled"
    landing.mkdir(parents=True)
    (inbox / "2.parquet").rename(landing / f"{'0' * 64}.2.parquet.parquet")
    (landing / "whatever.parquet").touch()
    (inbox / "1.parquet").unlink()
    shutil.rmtree(state)
    feed.pull()
    shutil.rmtree(state)
    pulls(home, server, at_least=41).pull()
    assert story(home) == [(3, "1", "upsert", "1"), (42, "1", "upsert", "1")]


def test_another_declaration_pulls_all_rows_again(
    home: Home, server: Server, database: psycopg.Connection[Any], clock: Clock
) -> None:
    """What waited in the old shape may have been refused."""
    visit(database, 1, at=NOON - timedelta(days=1))
    visit(database, 2)
    pulls(home, server).pull()
    spec = VISITS.feeds["postgres"]
    spec = replace(spec, columns=(*spec.columns, ("gym", "gym + 0")))
    again = pulls(home, server, replace(VISITS, feeds={"postgres": spec}))
    assert again.pull() == again.pull() == {}
    assert [row[:2] for row in story(home)] == [(1, "1"), (1, "2"), (2, "1"), (2, "2")]
    pace = replace(spec, compare_every=timedelta(days=1), max_deleted_share=Decimal(1))
    pulls(home, server, replace(VISITS, feeds={"postgres": pace})).pull()
    assert len(story(home)) == 4


def test_a_large_pull_is_several_files(
    home: Home,
    server: Server,
    database: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres, "_BATCH_ROWS", 3)
    monkeypatch.setattr(postgres, "_FILE_BYTES", 1)
    for number in range(7):
        visit(database, number)
    pulls(home, server).pull()
    names = [file.name for file in pulled_files(home)]
    assert names == ["1.parquet", "1-2.parquet", "1-3.parquet"]
    assert len(gyms(home)) == 7


def test_rows_are_held_up_to_a_number_of_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_BATCH_BYTES", 10)
    keys = iter([("a", 4), ("b", 6), ("c", 11), ("d", 1)])
    assert list(postgres._batches(keys)) == [["a", "b"], ["c"], ["d"]]


FAULTS: dict[str, tuple[str, Callable[[Postgres], Postgres], str]] = {
    "no table": ("drop table things", lambda spec: spec, "has no table public.things"),
    "no column": ("alter table things drop c0", lambda spec: spec, "has no column c0"),
    "no key": ("", lambda spec: replace(spec, key=("no",)), "has no column no"),
    "no change column": ("", lambda spec: replace(spec, changed_at="no"), "has no column no"),
    "no right": (
        "revoke select on things from lakehouse_reader",
        lambda spec: spec,
        "permission denied for table things. Grant it, see deploy/postgres/reader.sql",
    ),
    "another type": (
        "alter table things alter c0 type numeric",
        lambda spec: spec,
        "column c0 is numeric, which bigint does not hold as it is",
    ),
    "no expression": (
        "",
        lambda spec: replace(spec, columns=(("c0", "c0 +"),)),
        "syntax error .* Correct postgres in its declaration",
    ),
    "a function of somebody": (
        "create function own(bigint) returns bigint language sql return 1",
        lambda spec: replace(spec, columns=(("c0", "own(c0)"),)),
        r"function own\(bigint\) does not exist. Correct postgres",
    ),
    "keys twice": (
        "insert into things values (2, 6, 1, 'x')",
        lambda spec: replace(spec, key=("c1",)),
        "several rows of public.things have one key",
    ),
    "no value as key": (
        "insert into things values (2, null, null, 'x')",
        lambda spec: replace(spec, key=("c1",)),
        "has a row without c1",
    ),
    "a part without a value": (
        "insert into things values (2, null, null, 'x')",
        lambda spec: replace(spec, key=("id", "c1")),
        "has a row without id or c1",
    ),
    "keys that do not last": (
        "drop table things; create view things as select random()::text as id, 5::bigint as c0, "
        "1::numeric as c1, 'a' as c2; grant select on things to lakehouse_reader",
        lambda spec: spec,
        "0 rows of public.things have 1 keys",
    ),
    "too large": (
        "update things set c2 = repeat('x', 16777216)",
        lambda spec: spec,
        "a row of public.things has 167772.. bytes; at most 16777216",
    ),
    "too many digits": (
        "update things set c1 = 1.005",
        lambda spec: spec,
        r"column c1 has a value that decimal\(18,2\) does not hold",
    ),
    "no number": (
        "update things set c1 = 'NaN'",
        lambda spec: spec,
        r"column c1 has a value that decimal\(18,2\) does not hold",
    ),
    "a value that fails": (
        "update things set c2 = 'Ada of secrecy'",
        lambda spec: replace(spec, columns=(("c0", "c2::bigint"),)),
        r"a value of public.things is none .* \(InvalidTextRepresentation\)",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_table_that_cannot_be_pulled_holds_up_no_other(
    home: Home, server: Server, database: psycopg.Connection[Any], fault: str
) -> None:
    table = table_of(
        database, ("bigint", "bigint", "5"), ("decimal(18,2)", "numeric", "1"),
        ("string", "text", "'a'"),
    )  # fmt: skip
    statement, change, told = FAULTS[fault]
    if statement:
        database.execute(statement)
    visit(database, 1)
    broken = replace(table, feeds={"postgres": change(table.feeds["postgres"])})
    feed = pulls(home, server, broken, VISITS)
    with pytest.raises(AssertionError, match=rf"sbit\.things: .*{told}") as caught:
        raise AssertionError(feed.pull()["sbit.things.pulled"])
    assert "\n" not in str(caught.value)
    assert "secrecy" not in str(caught.value)
    assert pulled_files(home, table) == []
    assert gyms(home) == {"1": "1"}
    assert feed.describe()[0].num_rows == 0


def test_a_pull_changes_nothing_whoever_pulls(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    database.execute("create sequence numbers")
    visit(database, 1)
    table = every_time(VISITS, columns=(("gym", "nextval('public.numbers')"),))
    [fault] = Pulls(home, [table], {"sbit": server.owner}).pull().values()
    assert "read-only transaction" in fault


def test_a_state_that_is_damaged(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    feed = pulls(home, server)
    state = home.checkpoints / "sbit.gym_logins.pulled" / "pulled.sqlite"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"no database, whatever it is" * 100)
    [fault] = feed.pull().values()
    assert "if it is damaged, remove it" in fault
    assert [table.stopped for table in feed.describe()] == [fault]
    state.unlink()
    visit(database, 1)
    assert feed.pull() == {}


def test_an_inbox_that_cannot_be_written(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    visit(database, 1)
    inbox = home.inbox / "sbit.gym_logins.pulled"
    home.inbox.mkdir(parents=True)
    inbox.write_text("in the way")
    feed = pulls(home, server)
    [fault] = feed.pull().values()
    assert "Give the user that runs lakehouse the rights to write it" in fault
    inbox.unlink()
    assert feed.pull() == {}
    assert gyms(home) == {"1": "1"}


def test_a_password_is_told_to_nobody(
    home: Home,
    server: Server,
    database: psycopg.Connection[Any],
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    database.execute("alter role lakehouse_reader password 'right'")
    caplog.set_level(logging.DEBUG)
    by_tcp = f"host=127.0.0.1 port={server.port} user=lakehouse_reader dbname=postgres"
    wrong = Pulls(home, [VISITS], {"sbit": f"{by_tcp} password=Hunter2"})
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
            Pulls(home, [VISITS], {"sbit": conninfo})
        told.append(str(caught.value))
    assert "Hunter2" not in "".join(told)
    right = Pulls(home, [VISITS], {"sbit": f"{by_tcp} password=right"})
    assert right.pull() == {}


@pytest.mark.parametrize("option", ["options=-cwork_mem=1GB", "service=shop", "sslkey=engine:x"])
def test_other_options_of_a_connection_are_refused(home: Home, option: str) -> None:
    with pytest.raises(PullError, match="has another key than these: host, hostaddr"):
        Pulls(home, [VISITS], {"sbit": f"host=localhost {option}"})


def test_a_connection_of_nothing_is_refused(home: Home) -> None:
    with pytest.raises(PullError, match=r"LAKEHOUSE_POSTGRES_SHOP: no table of shop .* some: sbit"):
        Pulls(home, [VISITS], {"shop": "host=localhost"})


def test_what_has_no_connection_is_not_pulled(home: Home) -> None:
    feed = Pulls(home, [VISITS], {})
    assert feed.pull() == {}
    assert feed.describe() == []
    with pytest.raises(PullError, match=r"sbit.gym_logins is no table that is pulled. Known: none"):
        feed.accept("sbit.gym_logins")


def test_tables_can_be_left_out(
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    visit(database, 1)
    feed = pulls(home, server, VISITS, REGISTRATIONS)
    assert feed.pull(but=["sbit.gym_logins.pulled", "sbit.registered_users.pulled"]) == {}
    assert pulled_files(home) == []


def test_what_is_told_of_a_table(
    home: Home, server: Server, database: psycopg.Connection[Any], clock: Clock
) -> None:
    feed = pulls(home, server)
    [before] = feed.describe()
    assert (before.pull_id, before.num_rows, before.compared_at) == (0, 0, None)
    visit(database, 1)
    visit(database, 2)
    feed.pull()
    clock.now += timedelta(minutes=1)
    feed.pull()
    [table] = feed.describe()
    assert table == postgres.Pulled("sbit.gym_logins", 1, 2, NOON, None)


@pytest.mark.deep
def test_memory_is_bounded(home: Home, server: Server, database: psycopg.Connection[Any]) -> None:
    """Of 180 MB in 300,000 rows: all of them, and a comparison that finds half of them changed."""
    database.execute("create table things (id int primary key, a text)")
    database.execute("grant select on things to lakehouse_reader")
    things = SourceTable(
        "sbit", "things", "sbit_things", (Column("a", "string"),), "csv", ("a",),
        "fail", feeds={"postgres": Postgres(("public", "things"), ("id",))},
    )  # fmt: skip
    visit(database, 1)
    for pull, statement, num_pulled in (
        (
            2,
            "insert into things select n, md5(n::text) || repeat('x', 568) "
            "from generate_series(1, 300000) as n",
            300_000,
        ),
        (
            4,
            "delete from things where id = 1; update things set a = a || 'y' where id % 2 = 0",
            150_001,
        ),
    ):
        visit(database, 1, gym=pull)
        database.execute(statement)
        spawned = multiprocessing.get_context("spawn")
        told, growth = spawned.Pipe(duplex=False)
        feeds = [pulls(home, server, table) for table in (every_time(VISITS), things)]
        child = spawned.Process(target=measure_growth, args=(*feeds, growth))
        child.start()
        child.join()
        assert told.recv() < 90_000_000
        file = home.inbox / "sbit.things.pulled" / f"{pull // 2}.parquet"
        assert pq.ParquetFile(file).metadata.num_rows == num_pulled


def measure_growth(small: Pulls, large: Pulls, growth: Any) -> None:
    """Sends by how many bytes the most memory ever used has grown from a small pull to a large."""
    assert small.pull() == {}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert large.pull() == {}
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
        self.home = Home(Path(self._stack.enter_context(tempfile.TemporaryDirectory())))
        self.clock = Clock()
        for name, value in {
            "_now": self.clock,
            "_MIN_ROWS_OF_SHARE": SHARE_FROM,
            "_BATCH_ROWS": 2,
            "OVERLAP_MINUTES": 0,
        }.items():
            self._stack.enter_context(mock.patch.object(postgres, name, value))
        self.database = self._stack.enter_context(self.server.connect())
        self.database.execute(TABLES)
        self.database.execute(READER)
        self.late = self._stack.enter_context(self.server.connect())
        self.is_late = False
        self.at = self.latest = NOON
        self.feed = pulls(self.home, self.server)
        self.files: set[Path] = set()
        self.held: set[int] = set()  # by the pulls that were not killed
        self.must_be_seen: set[int] = set()

    def teardown(self) -> None:
        if self.is_late:
            self.late.execute("rollback")
        self._stack.close()

    @rule(number=IDS, gym=GYMS)
    def upsert(self, number: int, gym: int) -> None:
        visit(self.database, number, gym, self.at)
        if self.at >= self.latest:
            self.must_be_seen.add(number)
        else:
            self.must_be_seen.discard(number)
        self.latest = max(self.at, self.latest)

    @rule(number=IDS, gym=GYMS)
    def update_silently(self, number: int, gym: int) -> None:
        self.database.execute("update gym_visits set gym = %s where id = %s", (gym, number))

    @rule(numbers=st.sets(IDS, min_size=1))
    def delete(self, numbers: set[int]) -> None:
        self.database.execute("delete from gym_visits where id = any(%s)", (list(numbers),))
        self.must_be_seen -= numbers

    @rule(minutes=st.sampled_from([-90, -1, 1, 90]))
    def set_the_clock(self, minutes: int) -> None:
        self.at += timedelta(minutes=minutes)

    @rule(number=st.integers(20, 22), gym=GYMS)
    def write_for_long(self, number: int, gym: int) -> None:
        if not self.is_late:
            self.late.execute("begin")
            self.is_late = True
        visit(self.late, number, gym, self.at)
        self.latest = max(self.at, self.latest)

    @precondition(lambda self: self.is_late)
    @rule(how=st.sampled_from(["commit", "rollback"]))
    def end(self, how: str) -> None:
        self.late.execute(how)
        self.is_late = False

    @rule(minutes=st.sampled_from([1, 60]))
    def pull(self, minutes: int) -> None:
        self.clock.now += timedelta(minutes=minutes)
        here = self.here()
        gone = self.held - set(here)
        is_too_much = gone and (
            gone == self.held or (len(self.held) >= SHARE_FROM and 5 * len(gone) > len(self.held))
        )
        if self.feed.pull():
            assert is_too_much
            assert self.new_rows() == []
            self.feed.accept(VISITS.full_name)
            assert self.feed.pull() == {}
        elif minutes == 60:
            assert not is_too_much
        for row in self.new_rows():
            number = int(row["_pull_key"])
            assert here.get(number) == row["gym"]
            if row["_op"] == "upsert":
                self.held.add(number)
            else:
                self.held.discard(number)
        there = self.there()
        assert {number: here[number] for number in self.must_be_seen}.items() <= there.items()
        self.must_be_seen.clear()
        if minutes == 60:
            assert there == here

    @rule()
    def be_killed(self) -> None:
        with (
            mock.patch.object(postgres._State, "hold_what_was_seen", side_effect=KeyboardInterrupt),
            contextlib.suppress(KeyboardInterrupt),
        ):
            self.feed.pull()
        self.new_rows()
        self.feed = pulls(self.home, self.server)

    def new_rows(self) -> list[dict[str, Any]]:
        """The rows of files that have come since, whose numbers are higher than all before."""
        inbox = self.home.inbox / "sbit.gym_logins.pulled"
        new = set(inbox.glob("*")) - self.files
        assert all(
            int(file.stem) > max((int(old.stem) for old in self.files), default=0) for file in new
        )
        self.files |= new
        return [row for file in new for row in pq.read_table(file).to_pylist()]

    def there(self) -> dict[int, str]:
        """What is left of the pulled rows; those of a killed pull come twice."""
        state: dict[int, str] = {}
        for file in sorted(self.files, key=lambda file: int(file.stem)):
            for row in pq.read_table(file).to_pylist():
                if row["_op"] == "delete":
                    state.pop(int(row["_pull_key"]), None)
                else:
                    state[int(row["_pull_key"])] = row["gym"]
        return state

    def here(self) -> dict[int, str]:
        rows = self.database.execute("select id, gym from gym_visits")
        return {number: str(gym) for number, gym in rows}


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
    home: Home, server: Server, database: psycopg.Connection[Any]
) -> None:
    """Also where tables stop and go on."""
    wearables, dice = DOMAINS["wearables"], random.Random(1)
    changes = wearables.changes(1, {"minutes": 60, "users": 5})
    told = Database(server, wearables.pulled)
    feed = pulls(home, server, VISITS, REGISTRATIONS)
    happened: set[str] = set()
    files: list[File] = []
    for _ in range(40):
        told.change(dice.choice(changes))
        if dice.random() < 0.3:
            happened.update(feed.accept(table).split()[1] for table in told.accept())
        files += told.see(home.checkpoints)
        happened.update("stopped" for _ in feed.pull())
    for table in (VISITS, REGISTRATIONS):
        expected = [
            row
            for file in files
            if file.full_name.startswith(table.full_name)
            for row in pq.read_table(BytesIO(file.content)).to_pylist()
        ]
        assert as_seen(pulled_rows(home, table)) == as_seen(expected)
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
