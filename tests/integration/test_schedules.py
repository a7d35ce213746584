"""Orders of events that break what is built load by load, on a toy project with the house's macros.

The numbers are those of the schedules. After every step what readers see (`gold`) is what plain
Python makes of all that had come up to the load that is published.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from pyspark.sql import SparkSession

from ingestion.bronze import AUDIT_TABLES
from lakehouse import build, restore
from lakehouse.domains import News, State, news_of, states_of
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.maintenance import align_views, keep_up
from lakehouse.restore import Publication, go_back, publications_of, release, why_gone
from lakehouse.settings import PROJECT
from lakehouse.slim import Slim
from tests.support.lakehouse import Lakehouse

TOY = PROJECT / "tests" / "toy"
UNTESTED = ("build", "--exclude-resource-type", "test")
ALPHA = ("--select", "config.meta.domain:alpha")
BETA = ("--select", "config.meta.domain:beta")
MART = "gold_build.account_sums"
DAY = 86_400
# dbt in a process that is killed as soon as a node of this name has ended.
KILLED = """
import os, sys
from dbt.cli.main import dbtRunner
node, *arguments = sys.argv[1:]
def hear(event):
    if event.info.name == "NodeFinished" and event.data.node_info.node_name == node:
        os.kill(os.getpid(), 9)
dbtRunner(callbacks=[hear]).invoke(arguments)
"""


@dataclass
class Toy:
    """The toy project, and what plain Python knows of what has come."""

    lakehouse: Lakehouse
    most: int = 1_000_000
    levels: dict[str, int] = field(default_factory=lambda: {"low": -1_000_000, "high": 100})
    last: int = 0
    entries: list[tuple[int, int, str, int, int]] = field(default_factory=list)
    names: list[tuple[int, str, str, str | None, int]] = field(default_factory=list)
    others: list[tuple[int, int, str, int]] = field(default_factory=list)

    def sql(self, statement: str) -> list[dict[str, Any]]:
        return self.lakehouse.rows(statement)

    def load(
        self,
        *,
        entries: tuple[tuple[int, str, int, int], ...] = (),
        names: tuple[tuple[str, str, str | None, int], ...] = (),
        others: tuple[tuple[int, str, int], ...] = (),
        is_closed: bool = True,
    ) -> None:
        """A load: (id, account, amount, at), (account, kind, name, at), (id, key, amount)."""
        self.last += 1
        spark = local.session(self.lakehouse.settings)
        came = [
            ("entries", "id bigint, account string, amount bigint, at bigint", entries),
            ("names", "account string, kind string, name string, at bigint", names),
            ("others", "id bigint, key string, amount bigint", others),
        ]
        now, told = datetime.now(UTC), []
        for table, columns, rows in came:
            if rows:
                marked = [(*row, self.last) for row in rows]
                frame = spark.createDataFrame(marked, f"{columns}, _load_id bigint")
                frame.writeTo(f"bronze.toy_{table}").append()
                told.append((self.last, f"toy.{table}", "finished", len(rows), None, now))
        self.entries += [(self.last, *row) for row in entries]
        self.names += [(self.last, *row) for row in names]
        self.others += [(self.last, *row) for row in others]
        if is_closed:
            told.append((self.last, None, "closed", len(entries + names + others), None, now))
        self._tell(told)

    def close(self) -> None:
        """Closes the last load."""
        self._tell([(self.last, None, "closed", 0, None, datetime.now(UTC))])

    def _tell(self, rows: list[tuple[Any, ...]]) -> None:
        spark = local.session(self.lakehouse.settings)
        spark.createDataFrame(rows, AUDIT_TABLES["audit.loads"]).writeTo("audit.loads").append()

    def dbt(self, *arguments: str) -> None:
        """A run that succeeds; then readers see what they should."""
        self.lakehouse.dbt(*arguments)
        self.check()

    def fails(self, *arguments: str) -> str:
        """A run that fails; its words. Then readers see what they should."""
        words = StringIO()
        with redirect_stderr(words), pytest.raises(LakehouseError):
            self.lakehouse.dbt(*arguments)
        self.check()
        return words.getvalue()

    def killed(self, node: str, *arguments: str) -> None:
        """A run that is killed when a node has ended."""
        target = self.lakehouse.settings.paths.root / "toy"
        options = ["--project-dir", TOY, "--target-path", target, "--log-path", target]
        done = subprocess.run(
            [sys.executable, "-c", KILLED, node, *arguments, "--threads", "1", *options],
            env=os.environ | {"DBT_PROFILES_DIR": str(PROJECT)},
            capture_output=True,
            check=False,
        )
        assert done.returncode == -9, done.stdout
        self.check()

    @contextmanager
    def refusing(self, account: str) -> Iterator[None]:
        """For a while a mart takes no row of an account, so that whole builds fail."""
        self.sql(f"alter table {MART} add constraint as_it_was check (account <> '{account}')")
        try:
            yield
        finally:
            self.sql(f"alter table {MART} drop constraint as_it_was")

    def state(self, domain: str = "alpha") -> State:
        return self.lakehouse.state(domain)

    def numbers(self, domain: str = "alpha") -> tuple[int | None, int | None]:
        return self.state(domain).built, self.state(domain).published

    def settle(self) -> None:
        """All that has come is built, green and published."""
        if not (self._is_settled("alpha") and self._is_settled("beta")):
            self.dbt("build")
        assert self._is_settled("alpha")
        assert self._is_settled("beta")

    def _is_settled(self, domain: str) -> bool:
        state = self.state(domain)
        came = self.others if domain == "beta" else [*self.entries, *self.names]
        is_built = state.built is not None and state.built >= max(
            (row[0] for row in came), default=0
        )
        return is_built and state.is_published and not state.pending

    def check(self) -> None:
        """What readers see is what plain Python makes of it: of what is published, live of all."""
        expected = {}
        if self.lakehouse.has("gold.account_now"):
            expected["account_now"] = self.account_now()
        states = states_of(local.session(self.lakehouse.settings))
        published = {domain: state.published for domain, state in states.items()}
        if (load := published.get("alpha")) is not None:
            expected |= {"account_sums": self.account_sums(load), "day_sums": self.day_sums(load)}
        if (load := published.get("beta")) is not None:
            expected["other_sums"] = self.other_sums(load)
        assert self.seen(*expected) == expected

    def seen(self, *marts: str) -> dict[str, list[tuple[Any, ...]]]:
        found = self.lakehouse.tables(*(f"gold.{mart}" for mart in marts)) if marts else []
        return {
            mart: sorted((tuple(row.values()) for row in rows), key=repr)
            for mart, rows in zip(marts, found, strict=True)
        }

    def _current(self, load: int) -> list[tuple[int, str, int, int]]:
        """Of each id the entry that counts: (id, account, amount, at)."""
        latest: dict[int, tuple[int, int, str]] = {}
        for number, entry, account, amount, at in self.entries:
            if number <= load and amount <= self.most:
                latest[entry] = max(latest.get(entry, (at, amount, account)), (at, amount, account))
        return [(entry, account, amount, at) for entry, (at, amount, account) in latest.items()]

    def account_sums(self, load: int) -> list[tuple[Any, ...]]:
        totals: dict[str, int] = {}
        for _, account, amount, _ in self._current(load):
            totals[account] = totals.get(account, 0) + amount
        rows = []
        for account, total in totals.items():
            changes = sorted(
                (at, kind, name)
                for number, of, kind, name, at in self.names
                if of == account and number <= load
            )
            is_deleted, name = False, None
            for _, kind, changed in changes:
                is_deleted = kind == "delete" or (is_deleted and kind != "new")
                name = None if is_deleted else changed
            reached = [(bound, level) for level, bound in self.levels.items() if total >= bound]
            rows.append((account, total, name, max(reached)[1] if reached else None))
        return sorted(rows, key=repr)

    def day_sums(self, load: int) -> list[tuple[Any, ...]]:
        totals: dict[int, int] = {}
        for _, _, amount, at in self._current(load):
            totals[at // DAY] = totals.get(at // DAY, 0) + amount
        ats = [
            at
            for number, _, _, amount, at in self.entries
            if number <= load and amount <= self.most
        ]
        last = max(ats, default=0) // DAY
        return sorted(
            (
                (datetime.fromtimestamp(day * DAY, UTC).date(), total, day == last)
                for day, total in totals.items()
            ),
            key=repr,
        )

    def account_now(self) -> list[tuple[Any, ...]]:
        now = datetime.now(UTC).timestamp()
        came = [
            (at, amount, account)
            for _, _, account, amount, at in self.entries
            if amount <= self.most and at <= now
        ]
        as_of = max((at for at, *_ in came), default=0)
        latest: dict[str, tuple[int, int]] = {}
        for at, amount, account in came:
            if at >= as_of - DAY:
                latest[account] = max(latest.get(account, (at, amount)), (at, amount))
        names: dict[str, str | None] = {}
        for _, account, kind, name in sorted((at, *row) for _, *row, at in self.names):
            names[account] = None if kind == "delete" else name
        moment = datetime.fromtimestamp(as_of, UTC)
        return sorted(
            ((account, moment, of[1], names.get(account)) for account, of in latest.items()),
            key=repr,
        )

    @property
    def session(self) -> SparkSession:
        return local.session(self.lakehouse.settings)

    def publications(self) -> list[Publication]:
        return publications_of(self.session, "alpha")

    def news(self) -> dict[str, News]:
        dbt = build.Dbt(self.lakehouse.settings)
        dbt.parse()
        return news_of(self.session, dbt.domains(), states_of(self.session))

    def live(self) -> int:
        """The load from which on the live view asks for what has arrived."""
        load = int(self.state().details["live"]["load"])
        [part] = self.sql("show create table silver.int_events_arrived")
        assert f"_load_id > {load}" in part["createtab_stmt"]
        return load

    def other_sums(self, load: int) -> list[tuple[Any, ...]]:
        totals: dict[str, int] = {}
        for number, _, key, amount in self.others:
            if number <= load:
                totals[key] = totals.get(key, 0) + amount
        return sorted(totals.items(), key=repr)


@pytest.fixture(scope="module")
def toy(lakehouse: Lakehouse) -> Iterator[Toy]:
    patch = pytest.MonkeyPatch()
    patch.setattr(build, "PROJECT", TOY)
    patch.setenv("DBT_PROFILES_DIR", str(PROJECT))
    local.session(lakehouse.settings)
    for table, columns in (
        ("entries", "id bigint, account string, amount bigint, at bigint"),
        ("names", "account string, kind string, name string, at bigint"),
        ("others", "id bigint, key string, amount bigint"),
    ):
        lakehouse.rows(f"create table bronze.toy_{table} ({columns}, _load_id bigint) using delta")
    yield Toy(lakehouse)
    patch.undo()


@pytest.fixture
def settled(toy: Toy) -> Toy:
    """Both domains are built and published, of which the next steps change something."""
    toy.settle()
    return toy


def test_a_home_with_one_domain(toy: Toy) -> None:
    """15: nothing of the other is built, nor asked for."""
    toy.load(entries=((1, "a", 10, 100), (2, "b", 20, 200)), names=(("a", "new", "Ada", 1),))
    toy.dbt(*UNTESTED, *ALPHA)
    assert toy.numbers() == (1, None)
    toy.dbt("test", *ALPHA)
    assert toy.numbers() == (1, 1)
    assert toy.numbers("beta") == (None, None)


def test_a_bare_build_does_both(toy: Toy) -> None:
    toy.load(entries=((1, "a", 11, 300),), others=((1, "x", 5),))
    toy.dbt("build")
    assert toy.numbers() == toy.numbers("beta") == (2, 2)
    number = toy.state().number
    toy.dbt("build")  # without news nothing is written
    assert toy.state().number == number


def test_a_part_moves_no_number(settled: Toy) -> None:
    """3, 20: a build of models without the snapshot, a part, then a whole one."""
    before = settled.numbers()
    settled.load(
        names=(("a", "update", "Alma", 50), ("b", "new", "Bea", 60)), entries=((3, "c", 7, 400),)
    )
    settled.dbt("build", "--exclude-resource-type", "snapshot", "test", *ALPHA)
    assert settled.numbers() == before
    settled.dbt("run", "--select", "int_events")
    settled.dbt("test")
    assert settled.numbers() == before
    settled.dbt("build")
    assert settled.numbers() == (settled.last, settled.last)


def test_a_missing_table_is_built_anew_with_all_below(settled: Toy) -> None:
    """4, 36: its only entry has moved to another account meanwhile."""
    settled.load(entries=((3, "d", 8, 500),))
    settled.sql("drop table silver.int_entries")
    settled.sql("drop table silver.int_events")  # which a live part reads
    settled.dbt(*UNTESTED, *ALPHA)
    settled.dbt("test", *ALPHA)
    assert settled.numbers() == (settled.last, settled.last)
    assert "c" not in {account for account, *_ in settled.seen("account_sums")["account_sums"]}


def test_red_tests_hold_back_what_readers_see_alone(settled: Toy) -> None:
    """16, 20, 21, 31, 33, 35: `built` goes on, the other domain too; then all is published."""
    published = settled.numbers()[1]
    settled.load(entries=((4, "a", -5, 600),))
    settled.dbt(*UNTESTED)
    settled.fails("test", *ALPHA)
    assert settled.numbers() == (settled.last, published)
    settled.load(entries=((5, "a", 1, 700),), others=((2, "x", 6),))
    settled.dbt(*UNTESTED)
    settled.dbt("test", *BETA)
    assert settled.numbers() == (settled.last, published)
    assert settled.numbers("beta") == (settled.last, settled.last)
    versions = settled.state().versions("marts")
    settled.load(others=((3, "x", 1),))
    settled.dbt(*UNTESTED)  # nothing of this domain
    assert settled.state().versions("marts") == versions
    settled.load(entries=((4, "a", 5, 601),))
    settled.fails("test", *ALPHA)  # 13: of what was built, not of what has come
    settled.dbt(*UNTESTED, *ALPHA)
    settled.dbt("test", *ALPHA)
    assert settled.numbers() == (settled.last, settled.last)


def test_tests_judge_what_was_built(settled: Toy) -> None:
    """13: a load closes, then tests alone."""
    before = settled.numbers()
    settled.load(entries=((6, "a", -1, 650),))
    settled.dbt("test")
    assert settled.numbers() == before
    settled.load(entries=((6, "a", 1, 651),))


def test_one_cut_a_run(settled: Toy) -> None:
    """1: a load that is closed while a build goes on is the next build's."""
    settled.load(entries=((7, "a", 2, 710),), others=((4, "y", 2),))
    settled.load(entries=((8, "b", 3, 720),), others=((5, "y", 3),), is_closed=False)
    target = settled.lakehouse.settings.paths.root / "toy"
    with subprocess.Popen(
        [
            *(Path(sys.executable).with_name("dbt"), *UNTESTED, "--project-dir", str(TOY)),
            *("--target-path", str(target), "--log-path", str(target)),
        ],
        env=os.environ | {"DBT_PROFILES_DIR": str(PROJECT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        for line in run.stdout or ():
            if "int_events" in line and "START" in line:
                settled.close()
    assert run.returncode == 0
    assert settled.numbers()[0] == settled.last - 1
    settled.dbt("build")
    assert settled.numbers() == (settled.last, settled.last)


def test_a_full_refresh_of_a_part_goes_on_below(settled: Toy) -> None:
    """6, 27, 37: asked for without the `+`, of a mart, a table, a view; what is below follows."""
    for model in ("account_sums", "int_entries", "stg_entries"):
        before = settled.numbers()
        settled.dbt(*UNTESTED, "--full-refresh", "--select", model)
        assert settled.numbers() == before
        assert settled.state().pending
        settled.dbt("build", *ALPHA)
        assert not settled.state().pending
        assert settled.state().is_published


def test_a_mended_parser_is_read_by_all_below(settled: Toy) -> None:
    """8, 37: the snapshot is folded anew too."""
    names = settled.sql("select count(*) as n from snapshots.account_names")
    settled.sql("delete from snapshots.account_names where account = 'a'")
    settled.sql("delete from silver.int_names where account = 'a'")
    settled.dbt(*UNTESTED, "--full-refresh", "--select", "int_names")
    settled.dbt("build", *ALPHA)
    assert settled.sql("select count(*) as n from snapshots.account_names") == names


def test_a_full_refresh_that_was_killed_is_finished(settled: Toy) -> None:
    """7, 26: without news; a build of one mart alone in between."""
    settled.killed("int_entries", "build", "--full-refresh", *ALPHA)
    assert settled.state().pending
    settled.dbt(*UNTESTED, "--select", "account_sums")
    assert settled.state().pending
    settled.dbt("build", *ALPHA)
    assert not settled.state().pending
    assert settled.state().is_published


def test_a_full_refresh_while_loads_close(settled: Toy) -> None:
    """9: the next build reads the new loads alone."""
    settled.load(entries=((9, "a", 4, 730),))
    settled.dbt(*UNTESTED, "--full-refresh", *ALPHA)
    settled.load(entries=((10, "b", 4, 740),))
    [before] = settled.sql("describe history silver.int_events limit 1")
    settled.dbt("build", *ALPHA)
    assert settled.numbers() == (settled.last, settled.last)
    [last] = settled.sql("describe history silver.int_events limit 1")
    assert last["operation"] == "MERGE"
    assert last["version"] == before["version"] + 1


def test_a_seed_that_was_killed_is_loaded_again(settled: Toy) -> None:
    """12: between its table and its rows."""
    settled.killed("levels", "seed", "--full-refresh")
    settled.sql("delete from silver.levels")
    settled.dbt(*UNTESTED, "--select", "account_sums")
    settled.dbt("build", *ALPHA)
    assert settled.sql("select count(*) as n from silver.levels") == [{"n": 2}]
    assert settled.state().is_published


def test_other_vars_and_seeds_take_a_full_refresh(settled: Toy) -> None:
    """22, 23, 25: refused before any write, in a line that says what to type."""
    number = settled.state().number
    other = ("--vars", json.dumps({"most": 9}))
    for command in (
        ("build",),
        ("run", "--select", "stg_entries"),
        ("build", "--full-refresh", "--select", "account_sums"),
    ):
        told = settled.fails(*command, *other)
        assert "other values of most" in told
        assert "dbt build --full-refresh --select config.meta.domain:alpha" in told
    seed = TOY / "seeds" / "levels.csv"
    text = seed.read_text()
    try:
        seed.write_text(text + "top,1000\n")
        told = StringIO()
        with redirect_stderr(told), pytest.raises(LakehouseError):
            build.Dbt(settled.lakehouse.settings)("seed")
        assert "other values of levels" in told.getvalue()
    finally:
        seed.write_text(text)
    assert settled.state().number == number
    settled.dbt("build")


def test_a_full_refresh_under_other_vars(settled: Toy) -> None:
    """24: killed half-way, a build under the old ones is refused; a full refresh is right."""
    other = ("--vars", json.dumps({"most": 9}))
    settled.killed("int_entries", *UNTESTED, "--full-refresh", *ALPHA, *other)
    assert "other values of most" in settled.fails("build", *ALPHA)
    published = settled.numbers()[1]
    settled.killed("day_sums", *UNTESTED, "--full-refresh", *ALPHA, *other)
    assert settled.numbers()[1] == published
    settled.lakehouse.dbt("build", "--full-refresh", *ALPHA, *other)
    settled.most = 9
    settled.check()
    settled.most = 1_000_000
    settled.lakehouse.dbt("build", "--full-refresh", *ALPHA)
    settled.check()
    assert settled.state().is_published


def test_a_killed_publication_is_put_right_first(settled: Toy) -> None:
    """34, 35: the views fall behind the row; the next run aligns them before anything else."""
    settled.load(entries=((11, "a", 9, 750),))
    settled.dbt("build", *ALPHA)
    version = settled.state().versions("gold")["account_sums"]
    settled.sql(
        "alter view gold.account_sums as select account, total, name, level "
        f"from gold_build.account_sums version as of {version - 1}"
    )
    assert "account_sums" in settled.news()["alpha"].reason  # though nothing has come
    settled.load(entries=((12, "a", -9, 760),))
    settled.fails("build", *ALPHA)
    settled.load(entries=((12, "a", 9, 761),))


def test_a_view_that_no_mart_stands_behind_goes(settled: Toy) -> None:
    """11: a mart that was removed or renamed; a table is somebody's own."""
    settled.sql("create view gold.renamed as select 1 as one")
    settled.sql("create table gold.own using delta as select 1 as one")
    settled.load(entries=((13, "a", 9, 770),))
    settled.dbt("build", *ALPHA)
    there = {row["tableName"] for row in settled.sql("show tables in gold")}
    settled.sql("drop table gold.own")
    assert there & {"renamed", "own"} == {"own"}


def test_a_killed_build_is_read_again(settled: Toy) -> None:
    """20: killed after a table, before anything is remembered."""
    settled.load(entries=((14, "b", 2, DAY + 5), (13, "c", 1, 775)), names=(("c", "new", "Cy", 5),))
    settled.killed("int_entries", *UNTESTED, *ALPHA)
    settled.load(names=(("a", "delete", None, 70),))
    settled.dbt("build", *ALPHA)
    assert settled.numbers() == (settled.last, settled.last)


def test_a_live_view_is_right_whatever_is_built(settled: Toy) -> None:
    """10, 28, 33: not yet built, in part, and built by a run that fails in the end."""
    before = settled.live()
    settled.load(
        entries=((15, "e", 3, DAY + 90), (16, "f", 4, 90)), names=(("e", "new", "Eve", 80),)
    )
    settled.check()
    settled.dbt("run", "--select", "int_events")
    settled.dbt("run", "--select", "int_names", "int_entries")
    assert settled.live() == before
    settled.dbt("run", "--select", "int_names", "int_events")
    assert settled.live() == settled.last
    settled.load(entries=((17, "e", 5, DAY + 95),), names=(("e", "update", "Eva", 81),))
    with settled.refusing("e"):
        settled.fails(*UNTESTED, *ALPHA)
        assert settled.live() == settled.last
        assert settled.numbers()[0] < settled.last - 1
    settled.load(entries=((17, "e", 5, DAY + 95), (18, "g", 6, DAY + 94)))


def test_a_live_view_reads_all_while_what_it_stands_on_is_built_anew(settled: Toy) -> None:
    """29, 37: a full refresh that is killed after the table under it; of a view below it alone."""
    settled.killed("int_events", *UNTESTED, "--full-refresh", *ALPHA)
    assert settled.live() == 0
    settled.load(entries=((19, "g", 7, DAY + 99),))
    settled.dbt("build", *ALPHA)
    assert settled.live() == settled.last
    settled.dbt(*UNTESTED, "--full-refresh", "--select", "stg_names")
    assert settled.live() == 0
    settled.dbt("build", *ALPHA)
    assert settled.live() == settled.last


def test_a_clock_that_runs_ahead_moves_no_live_answer(settled: Toy) -> None:
    """30: it is accepted, and nobody is told that all others are of long ago."""
    ahead = int(datetime.now(UTC).timestamp()) + 50 * 60
    settled.load(entries=((20, "a", 8, ahead), (21, "g", 8, DAY + 100)))
    settled.check()
    settled.dbt("build", *ALPHA)


def test_upkeep_while_a_domain_does_not_build(settled: Toy) -> None:
    """14: what it has yet to read of a change feed is kept, for however long that is."""
    with settled.refusing("h"):
        for number in range(2):
            settled.load(entries=((30 + number, "h", number, number * DAY), (2, "b", number, 210)))
            settled.fails(*UNTESTED, *ALPHA)
        settled.lakehouse.maintain()
    settled.dbt("build", *ALPHA)
    assert settled.numbers() == (settled.last, settled.last)


def test_upkeep_of_an_idle_domain_is_no_news(settled: Toy) -> None:
    """32: readers see the same, and nothing is to be built or tested."""
    before = settled.seen("account_sums"), settled.numbers()
    settled.lakehouse.maintain()
    settled.check()
    assert (settled.seen("account_sums"), settled.numbers()) == before
    assert not settled.news()


@pytest.fixture
def back(settled: Toy) -> Iterator[Toy]:
    """Published twice, and readers are back at the first; released in the end."""
    before = settled.seen("account_sums", "day_sums")
    number = settled.publications()[0].number
    settled.load(entries=((50, "a", 1000 + settled.last, DAY + 200 + settled.last),))
    settled.dbt("build", *ALPHA)
    assert settled.seen(*before) != before
    go_back(settled.session, "alpha", number)
    assert settled.seen(*before) == before
    settled.check()
    yield settled
    if settled.state().held is not None:
        release(settled.session, "alpha")


def test_a_publication_that_was_gone_back_from_does_not_come_back(back: Toy) -> None:
    """Builds and live views go on; nothing is published until that is released."""
    published = back.numbers()[1]
    assert back.news() == {}  # held is no news
    back.load(entries=((51, "c", 3, DAY + 300),), others=((9, "x", 1),))
    assert set(back.news()) == {"alpha", "beta"}
    back.dbt(*UNTESTED, *ALPHA)
    assert back.live() == back.last
    back.dbt("test", *ALPHA)
    assert back.numbers() == (back.last, published)
    back.dbt("build")
    assert back.numbers() == (back.last, published)
    assert back.numbers("beta") == (back.last, back.last)
    back.lakehouse.maintain()
    back.check()
    back.dbt("build", "--full-refresh", *ALPHA)
    assert back.numbers() == (back.last, published)
    assert back.news() == {}
    release(back.session, "alpha")
    back.check()
    assert back.news() == {"alpha": News()}
    back.dbt("test", *ALPHA)
    assert back.numbers() == (back.last, back.last)


def test_a_run_says_that_publishing_is_held(back: Toy) -> None:
    back.load(entries=((52, "c", 4, DAY + 400),))
    [alpha, beta] = build.Builds(back.lakehouse.settings).bring_up_to_date()
    assert not alpha.failure
    held = (
        f"publishing is held, and readers see load {back.numbers()[1]}; "
        "go on with: lakehouse restore alpha --release"
    )
    assert alpha.did[-1] == alpha.held == held
    assert not beta.held
    [alpha, beta] = build.Builds(back.lakehouse.settings).bring_up_to_date()
    assert (alpha.has_news, alpha.did, alpha.held) == (False, [], held)


def test_all_that_was_published_can_be_gone_back_to(back: Toy) -> None:
    """By the number of its row, since a load is published again where its domain is built anew."""
    release(back.session, "alpha")
    back.dbt("test", *ALPHA)
    before, load = back.publications(), back.numbers()[1]
    back.dbt("build", "--full-refresh", *ALPHA)
    anew, *others = back.publications()
    assert (anew.load, anew.is_shown) == (load, True)
    assert [one.number for one in others] == [one.number for one in before]
    back.lakehouse.maintain()  # which is none of its own
    assert [one.number for one in back.publications()] == [anew.number, *(o.number for o in others)]
    go_back(back.session, "alpha", anew.number)
    back.dbt("build", *ALPHA)
    assert [one.number for one in back.publications() if one.is_shown] == [anew.number]


def test_a_kill_between_the_row_and_the_views_is_put_right(
    back: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next run, or by upkeep."""
    newest = back.publications()[0].number
    first = next(one.number for one in back.publications() if one.is_shown)
    monkeypatch.setattr(restore, "pin", lambda *_: None)
    go_back(back.session, "alpha", newest)
    back.lakehouse.dbt(*UNTESTED, *BETA)
    back.check()
    go_back(back.session, "alpha", first)
    back.lakehouse.maintain()
    back.check()


def test_older_answers_may_have_other_columns(back: Toy) -> None:
    """Whoever shows them: the command, a run, upkeep."""
    version = back.state().versions("gold")["account_sums"]
    back.sql(f"alter table {MART} add column more int")
    [newer] = back.sql(f"describe history {MART} limit 1")
    view = f"select account, total, name, level, more from {MART} version as of {newer['version']}"
    first = next(one.number for one in back.publications() if one.is_shown)
    shows = (
        lambda: go_back(back.session, "alpha", first),
        lambda: back.lakehouse.dbt(*UNTESTED, *BETA),
        lambda: align_views(back.session),
    )
    for show in shows:
        back.sql(f"alter view gold.account_sums as {view}")
        show()
        back.check()
        [text] = back.sql("show create table gold.account_sums")
        assert f"version as of {version}" in text["createtab_stmt"].lower()
    back.dbt("build", "--full-refresh", *ALPHA)


def test_versions_whose_files_are_gone_are_refused(back: Toy) -> None:
    """One file is enough, and upkeep takes all. Neither the row nor what readers see changes."""
    shown = next(one for one in back.publications() if one.is_shown)
    release(back.session, "alpha")
    back.dbt("build", "--full-refresh", *ALPHA)
    version = shown.marts["account_sums"]
    assert why_gone(back.session, shown.marts) == ""
    files = f"select max(_metadata.file_path) as file from {MART} version as of {version}"
    [row] = back.sql(files)
    Path(unquote(urlsplit(row["file"]).path)).unlink()
    for lose in (lambda: None, back.lakehouse.maintain):
        lose()
        with pytest.raises(LakehouseError, match="cannot be read any more") as error:
            go_back(back.session, "alpha", shown.number)
        assert error.value.exit_code == 1
        assert len(str(error.value).splitlines()) == 1
        back.check()
    assert back.state().held is None


def test_what_cannot_be_gone_back_to_is_refused(settled: Toy) -> None:
    for domain, number, words in (
        ("gamma", 1, "gamma is no domain. There are: alpha, beta, "),
        ("alpha", 10**6, "alpha has no publication 1000000. Choose one of: lakehouse restore"),
    ):
        with pytest.raises(LakehouseError, match=words) as error:
            go_back(settled.session, domain, number)
        assert error.value.exit_code == 2
    with pytest.raises(LakehouseError, match="The publishing of alpha is not held"):
        release(settled.session, "alpha")


# What a message of an error may hold, and what is kept of it.
HOSTILE = {
    "it's \\' \\\\ {{ 1 / 0 }} {% raw %}\n--;": "it... \\\\ {{ 1 / 0 }} {% raw %} --;",
    "Runtime Error\n  [CAST_INVALID_INPUT] The value 'Ada' of `name`\n  row: Ada": (
        "[CAST_INVALID_INPUT] The value ... of `name`"
    ),
    "x" * 100_000: "x" * 300,
    "a \ud800 b": "a ? b",
    "é 漢 😀 \x00 \x1f": "é 漢 😀 \x00",
    "": "",
}


def results_of(toy: Toy, *columns: str) -> list[tuple[Any, ...]]:
    """Of the last run whose results are kept, these columns, sorted."""
    rows = toy.sql(
        f"select {', '.join(columns)} from audit.run_results where invocation_id = "
        "(select max_by(invocation_id, recorded_at) from audit.run_results)"
    )
    return sorted((tuple(row.values()) for row in rows), key=repr)


def told_by_dbt(toy: Toy) -> list[tuple[Any, ...]]:
    """Id, status, seconds and failures of the last run's nodes, as dbt itself wrote them."""
    file = toy.lakehouse.settings.paths.root / "target" / "run_results.json"
    told = json.loads(file.read_text())["results"]
    return sorted(
        (
            (row["unique_id"], row["status"], row["execution_time"], row["failures"])
            for row in told
            if not row["unique_id"].startswith("operation.")
        ),
        key=repr,
    )


def test_what_runs_did_is_kept(settled: Toy) -> None:
    """Of green, red and failed ones, as dbt tells it; and one append each."""
    settled.load(entries=((40, "k", 5, 900),))
    columns = ("node_id", "status", "seconds", "failures")
    for command in (("build", *ALPHA), ("snapshot",), ("seed",), ("test", *BETA)):
        settled.dbt(*command)
        assert results_of(settled, *columns) == told_by_dbt(settled)
        assert {command[0]} == {kept for (kept,) in results_of(settled, "command")}
    assert {("beta", settled.last)} == set(results_of(settled, "domain", "cut"))
    settled.load(entries=((41, "q", -6, 901),))
    with settled.refusing("q"):
        settled.fails(*UNTESTED, *ALPHA)
        assert results_of(settled, *columns) == told_by_dbt(settled)
    [(status, message)] = {row for row in results_of(settled, "status", "message") if row[1]}
    assert status == "error"
    assert message.startswith("[DELTA_VIOLATE_CONSTRAINT_WITH_VALUES]")
    settled.dbt(*UNTESTED, *ALPHA)
    settled.fails("test", *ALPHA)
    red = [row for row in results_of(settled, "name", "status", "failures", "message") if row[3]]
    assert red == [
        ("int_entries__are_not_negative", "fail", 1, "Got 1 result, configured to fail if != 0")
    ]
    settled.load(entries=((41, "q", 6, 902),))


def test_what_did_no_work_is_not_kept(settled: Toy) -> None:
    """Views alone, and what does not begin."""
    [before] = settled.sql("describe history audit.run_results limit 1")
    settled.dbt("run", "--select", "stg_entries", "stg_names")
    settled.fails("build", "--vars", '{"most": 5}', *ALPHA)
    [after] = settled.sql("describe history audit.run_results limit 1")
    assert after["version"] == before["version"]
    settled.dbt("test", *BETA)
    [after] = settled.sql("describe history audit.run_results limit 1")
    assert after["version"] == before["version"] + 1


def test_results_of_long_ago_are_forgotten(settled: Toy) -> None:
    for days in (89, 91):
        settled.sql(
            "insert into audit.run_results (invocation_id, recorded_at) "
            f"values ('{days} days ago', current_timestamp() - interval {days} day)"
        )
    keep_up(local.session(settled.lakehouse.settings), "audit.run_results", 0)
    kept = "select invocation_id from audit.run_results where invocation_id like '% days ago'"
    assert settled.sql(kept) == [{"invocation_id": "89 days ago"}]


def test_whatever_a_message_holds_is_kept_as_far_as_it_may(settled: Toy) -> None:
    node = {"unique_id": "test.x", "name": "x", "resource_type": "test", "config": {}}
    node["depends_on"] = {"nodes": []}  # type: ignore[assignment]
    told = [
        {
            **{"node": node, "status": "error", "message": message},
            **{"timing": [], "execution_time": 0.5, "failures": None},
        }
        for message in HOSTILE
    ]
    told_as_json = json.dumps({"results": json.dumps(told)})
    settled.lakehouse.dbt("run-operation", "note_told", "--args", told_as_json)
    assert results_of(settled, "message") == sorted(
        ((kept,) for kept in HOSTILE.values()), key=repr
    )


def test_a_run_is_right_whose_results_cannot_be_kept(settled: Toy) -> None:
    settled.sql("create or replace table audit.run_results (another string) using delta")
    settled.load(entries=((42, "m", 5, 910),))
    settled.dbt("build", *ALPHA)
    assert settled.numbers() == (settled.last, settled.last)
    settled.sql("drop table audit.run_results")
    settled.dbt("test", *ALPHA)
    assert results_of(settled, "node_id", "status") == [row[:2] for row in told_by_dbt(settled)]


def all_there_is(toy: Toy) -> dict[str, Any]:
    """The rows of each table and view of the home, and the text of each view, by name."""
    found: dict[str, Any] = {}
    for schema in toy.sql("show schemas"):
        for table in toy.sql(f"show tables in {schema['namespace']}"):
            name = f"{schema['namespace']}.{table['tableName']}"
            found[name] = [sorted(map(repr, toy.sql(f"select * from {name}")))]
            found[name] += (
                toy.sql(f"show create table {name}") if schema["namespace"] == "gold" else []
            )
    return found


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def expects(change: Path, model: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
    """Plants a data test in a change: a model has these rows and no others."""
    values = ", ".join(str(row).replace("None", "null") for row in rows)
    there = f"(select {columns} from {{{{ ref('{model}') }}}})"
    told = f"(select {columns} from values {values} as told({columns}))"
    (change / "tests" / f"{model}__is_as_told.sql").write_text(
        f"({there} except all {told}) union all ({told} except all {there})"
    )


def test_a_change_is_built_beside_what_is_there_and_moves_nothing(
    settled: Toy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """What it does not touch is read where it is, up to the load that this has come to."""
    change = tmp_path / "tests" / "toy"
    shutil.copytree(TOY, change)
    (tmp_path / "macros").symlink_to(PROJECT / "macros")
    slim = Slim(change, TOY, tmp_path / "dbt", "slim_x_")
    settled.load(entries=((48, "a", 70, 970), (49, "y", 1, 980)), names=(("a", "new", "Ada", 98),))
    settled.dbt("build")
    built = settled.last
    settled.load(
        entries=((50, "a", 9, 990), (51, "z", 9, 990)), names=(("a", "update", "Ann", 99),)
    )
    before = all_there_is(settled)

    mistake = "amount - 1000 as amount,"
    edit(
        change / "models" / "alpha" / "int_events.sql",
        "amount,\n    event",
        f"{mistake}\n    event",
    )
    below = {"int_events", "int_events_recent", "account_now", "int_entries"}
    below |= {"account_sums", "day_sums"}
    modified = slim.modified()
    assert below == {name.split(".")[-1] for name in modified if name.startswith("model.")}
    assert set(modified.values()) == {"alpha"}
    with pytest.raises(LakehouseError, match="The change is red"):
        slim.build()
    assert "FAIL" in (told := capfd.readouterr().out)
    assert "int_entries__are_not_negative" in told
    assert all_there_is(settled) == before

    # What is right: in a view that live parts read, in a seed, and in a snapshot.
    edit(change / "models" / "alpha" / "int_events.sql", mistake, "amount,")
    edit(change / "models" / "alpha" / "stg_entries.sql", "select\n", "select distinct\n")
    edit(change / "seeds" / "levels.csv", "high,100", "high,50")
    edit(change / "snapshots" / "account_names.sql", "    name\n", "    concat(name, '') as name\n")
    levels, settled.levels = settled.levels, settled.levels | {"high": 50}
    expects(change, "account_sums", "account, total, name, level", settled.account_sums(built))
    settled.levels = levels
    now = [(account, amount, name) for account, _, amount, name in settled.account_now()]
    expects(change, "account_now", "account, amount, name", now)
    slim.build()
    assert all_there_is(settled) == before
    settled.dbt("build")


def test_a_home_of_an_earlier_release_is_built_anew(settled: Toy) -> None:
    """15: tables are there, and nothing tells how far they have come."""
    settled.sql("drop table audit.domains")
    settled.sql("update silver.int_entries set amount = 0")
    settled.lakehouse.dbt("build")
    settled.check()
    assert settled.numbers() == (settled.last, settled.last)


def test_built_in_the_end_as_in_one_go(settled: Toy) -> None:
    before = settled.seen("account_sums", "day_sums", "other_sums")
    settled.dbt("build", "--full-refresh")
    assert settled.seen(*before) == before
