"""The shop's story, played in a real PostgreSQL and pulled from there with the reader's role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from generators.retail import story as retail
from generators.retail.database import KEYS, VARIABLE, Database
from generators.retail.tables import CLICKS, REFUNDS, SCHEMAS, STOCK_MOVEMENTS
from ingestion.declaration import SourceTable, read_declarations
from ingestion.faults import LoadError
from ingestion.feeds.postgres.pulls import Pulls
from ingestion.home import Home
from lakehouse.settings import PROJECT
from tests.oracle.retail.marts import MARTS, answers, stock_status
from tests.oracle.retail.rows import Clock, Deliveries, judge_rows, read_contents
from tests.oracle.retail.states import States
from tests.support.lakehouse import Lakehouse
from tests.support.postgres import Server, running_server

READER = (PROJECT / "deploy" / "postgres" / "reader_retail.sql").read_text()
STORY: Mapping[str, Any] = {"days": 12, "minutes": 6, "customers": 100}
LATEST = retail.START + timedelta(days=20)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def database(server: Server) -> Database:
    """An empty one, with the role that may read the shop."""
    with server.connect() as connection:
        connection.execute("drop schema if exists shop cascade")
        connection.execute("drop role if exists lakehouse_reader")
    database = Database(server.owner)
    with server.connect() as connection:
        connection.execute(READER)
    return database


def told_by_files() -> Deliveries:
    contents: dict[str, list[tuple[str, bytes]]] = {}
    for files in retail.sets(1, **STORY):
        for table, named in files.files.items():
            contents.setdefault(table, []).extend(named.items())
    return read_contents(contents)


def rows_in(server: Server) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of the database, by table, in the order of their keys."""
    found = {}
    with server.connect() as connection:
        connection.execute("set timezone to 'UTC'")
        for table in SCHEMAS:
            name = f"shop.{table.partition('.')[2]}"
            rows = connection.execute(f"select * from {name} order by {', '.join(KEYS[table])}")
            found[table] = rows.fetchall()
    return found


def left_by(deliveries: Deliveries) -> dict[str, int]:
    """How many rows of each table are there in the end."""
    clock = Clock(0, 2**62)
    judged = {table: judge_rows(table, deliveries, clock) for table in SCHEMAS}
    return {table: len(States[Any](of.told).now) for table, of in judged.items()}


def test_the_database_is_in_the_end_as_the_files_tell(
    tmp_path: Path, server: Server, database: Database
) -> None:
    files = retail.write(Home(tmp_path), 1, **STORY, database=database)
    assert {path.parts[-2] for path in files} == {CLICKS}
    found = rows_in(server)
    assert {table: len(rows) for table, rows in found.items()} == left_by(told_by_files())
    # Late commits, doubles and broken rows of files leave it as it is.
    trouble = {"late": 0.3, "duplicates": 0.3, "corrupt": 0.1}
    retail.write(Home(tmp_path), 1, **STORY, **trouble, database=database)
    assert rows_in(server) == found


class Pulled(Database):
    """A database from which is pulled after each commit, which brings a day."""

    def __init__(self, server: Server, home: Home) -> None:
        super().__init__(server.owner)
        tables = [every_time(read_declarations(PROJECT / "models")[table]) for table in SCHEMAS]
        self._pulls = Pulls(home, tables, {"retail": server.reader})

    def commit(self) -> None:
        super().commit()
        self.pull()

    def pull(self) -> None:
        assert self._pulls.pull() == {}


def every_time(table: SourceTable) -> SourceTable:
    """The table as one of which each pull compares all rows, however many are gone."""
    spec = replace(table.feeds["postgres"], compare_every=None, max_deleted_share=1)
    return replace(table, feeds={"postgres": spec})


@pytest.mark.parametrize("late", [0.0, 0.3])
def test_pulls_of_the_database_have_the_answers_of_the_files(
    tmp_path: Path, server: Server, database: Database, late: float
) -> None:
    home = Home(tmp_path)
    pulled = Pulled(server, home)
    retail.write(home, 1, **STORY, late=late, database=pulled)
    contents = {
        folder.name: [(path.name, path.read_bytes()) for path in sorted(folder.iterdir())]
        for folder in home.inbox.iterdir()
    }
    assert contents.keys() == {CLICKS} | {f"{table}.pulled" for table in SCHEMAS}
    deliveries = read_contents(contents)
    by_pulls = answers(deliveries, ingested_at=LATEST + timedelta(days=365))
    by_files = answers(told_by_files(), ingested_at=LATEST)
    for mart in ("inventory_daily", "product_conversion", "as_of"):
        assert by_pulls[mart] == by_files[mart], mart
    # What happened between two pulls is missed, and only that.
    for entity in ("orders", "order_items"):
        counts = by_pulls["entity_counts"][entity]["accepted"]
        assert 0 < counts < by_files["entity_counts"][entity]["accepted"]
    deleted = {table for table, rows in deliveries.pulled.items() if gone(rows)}
    assert "retail.order_items" in deleted
    assert {REFUNDS, STOCK_MOVEMENTS}.isdisjoint(deleted)
    # Prices, regions and categories begin when they were changed, however late that is seen.
    names = ("date", "product_id", "category", "region", "net_sales")
    of_pulls, of_files = (
        {tuple(row[name] for name in names) for row in found["sales_by_region_product"]}
        for found in (by_pulls, by_files)
    )
    assert of_pulls == of_files


class TakenIn(Pulled):
    """One of which every third pull is taken in, and after half of them also built."""

    def __init__(self, server: Server, lakehouse: Lakehouse) -> None:
        super().__init__(server, lakehouse.settings.paths)
        self._lakehouse = lakehouse
        self._num_pulls = 0
        self.contents: dict[str, list[tuple[str, bytes]]] = {}

    def pull(self) -> None:
        super().pull()
        self._num_pulls += 1
        if self._num_pulls % 3 == 0:
            self.take_in()
            if self._num_pulls == 6:
                self._lakehouse.build_untested()

    def take_in(self) -> None:
        """Takes in what has been pulled, and clicks; keeps what it was."""
        inbox = self._lakehouse.settings.paths.inbox
        for path in sorted(path for path in inbox.rglob("[!.]*") if path.is_file()):
            of_folder = self.contents.setdefault(path.relative_to(inbox).parts[0], [])
            of_folder.append((path.name, path.read_bytes()))
        self._lakehouse.ingest()


@pytest.mark.deep
def test_gold_of_pulls_is_what_plain_python_makes_of_them(
    lakehouse: Lakehouse, server: Server, database: Database
) -> None:
    lakehouse.domains = ("retail",)
    pulled = TakenIn(server, lakehouse)
    retail.write(lakehouse.settings.paths, 1, **STORY, late=0.3, database=pulled)
    pulled.take_in()
    lakehouse.build()
    assert pulled.contents.keys() == {CLICKS} | {f"{table}.pulled" for table in SCHEMAS}
    deliveries, ingested_at = read_contents(pulled.contents), LATEST + timedelta(days=365)
    expected = answers(deliveries, ingested_at=ingested_at)
    expected["stock_status"] = stock_status(deliveries, ingested_at=ingested_at)
    gold = lakehouse.gold("gold", (*MARTS, "stock_status"))
    for mart, rows in gold.items():
        columns = expected[mart][0].keys()
        found = sorted(({name: row[name] for name in columns} for row in rows), key=repr)
        assert found == sorted(expected[mart], key=repr), mart


def gone(rows: Any) -> list[Any]:
    return [row for row in rows if row["_op"] == "delete"]


def test_what_is_prepared_is_seen_when_it_is_committed(server: Server, database: Database) -> None:
    told = next(
        retail._told(retail._story(1, **STORY, start=retail.START, trouble=NONE), MOMENTS, NONE)
    )
    database.prepare(told.rows)
    assert not any(rows_in(server).values())
    database.commit()
    assert rows_in(server)["retail.customers"]


NONE = retail._Trouble(0, 0, 0)
MOMENTS = retail._moments(retail._story(1, **STORY, start=retail.START, trouble=NONE), 60)


def test_a_database_that_cannot_be_written_is_a_line(
    server: Server, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LoadError, match=f"Set {VARIABLE}="):
        Database.of_setting()
    monkeypatch.setenv(VARIABLE, server.reader)
    with pytest.raises(LoadError, match="read-only transaction"):
        Database.of_setting()
    monkeypatch.setenv(VARIABLE, "host=localhost s3cret")
    with pytest.raises(LoadError, match="is no connection as libpq writes it") as told:
        Database.of_setting()
    assert "s3cret" not in str(told.value)
    monkeypatch.setenv(VARIABLE, f"{server.owner} port=1")
    with pytest.raises(LoadError, match="cannot be written") as told:
        Database.of_setting()
    assert "\n" not in str(told.value)
    monkeypatch.setenv(VARIABLE, server.owner)
    assert isinstance(Database.of_setting(), Database)
    with server.connect() as connection:
        connection.execute("drop table shop.orders; create table shop.orders (id int)")
    with pytest.raises(LoadError, match='column "updated_at" does not exist'):
        Database(server.owner)


def test_a_key_that_comes_back_lives(server: Server, database: Database) -> None:
    story = retail._story(1, **STORY, start=retail.START, trouble=NONE)
    [first, *_] = retail._told(story, MOMENTS, NONE)
    levels = first.rows["retail.stock_levels"].slice(0, 1)
    deleted = levels.set_column(levels.schema.get_field_index("_op"), "_op", [["delete"]])
    for rows, number in ((levels, 1), (deleted, 0), (levels, 1)):
        database.prepare({"retail.stock_levels": rows})
        database.commit()
        assert len(rows_in(server)["retail.stock_levels"]) == number


def test_the_reader_may_read_and_no_more(server: Server, database: Database) -> None:
    with psycopg.connect(server.reader, autocommit=True) as connection:
        assert connection.execute("select count(*) from shop.orders").fetchone() == (0,)
        connection.execute("set default_transaction_read_only = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from shop.orders")
