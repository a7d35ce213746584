"""What the health page says, of no data, one row, all fine and many; its questions on DuckDB."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ingestion.declaration import read_declarations
from lakehouse.health import (
    Ask,
    Source,
    declared_sources,
    has_grown,
    health_of,
    is_fresh,
    is_published,
    is_right,
    is_slower,
    last_loads,
    last_outcomes,
    last_runs,
    seconds_of_nodes,
    sizes,
    where_domains_stand,
)
from lakehouse.reading import rows_of
from lakehouse.settings import PROJECT

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
SOURCES = {
    "shop.orders": Source("retail", 24.0),
    "shop.clicks": Source("retail", None),
    "net.servers": Source("network", 1.0),
}


@pytest.fixture
def tables() -> duckdb.DuckDBPyConnection:
    """Empty audit tables, as Spark has them."""
    tables = duckdb.connect()
    tables.execute(
        """
        set timezone = 'UTC';
        create schema audit;
        create table audit.run_results (
            invocation_id text, command text, run_started_at timestamptz, cut bigint, node_id text,
            name text, resource_type text, domain text, status text, started_at timestamptz,
            seconds double, failures bigint, message text, recorded_at timestamptz
        );
        create table audit.loads (
            load_id bigint, source text, status text, num_rows bigint, message text,
            recorded_at timestamptz
        );
        create table audit.domains (
            domain text, number bigint, built bigint, published bigint, state text,
            invocation_id text, recorded_at timestamptz
        );
        create table audit.rejects (
            source text, entity text, level text, reason text, _ingested_at timestamptz
        );
        create table audit.unmatched (
            source text, entity text, reason text, key text, num_events bigint
        );
        """
    )
    return tables


@pytest.fixture
def ask(tables: duckdb.DuckDBPyConnection) -> Ask:
    def ask(sql: str) -> list[dict[str, Any]]:
        columns, rows = rows_of(tables.execute(sql).to_arrow_table())
        return [dict(zip(columns, row, strict=True)) for row in rows]

    return ask


def note(
    tables: duckdb.DuckDBPyConnection, run: int, node: str, status: str = "success", **others: Any
) -> None:
    """A row of the run so many hours after the first of March; it took a minute."""
    began = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=run)
    kind, _, name = node.rpartition(" ")
    row = {
        **{"invocation_id": f"run {run}", "command": "build", "run_started_at": began, "cut": run},
        **{"node_id": node, "name": name, "resource_type": kind or "model", "domain": "retail"},
        **{"status": status, "started_at": began, "seconds": 1.0, "failures": None},
        **{"message": None, "recorded_at": began + timedelta(minutes=1)},
    } | others
    marks = ", ".join("?" for _ in row)
    tables.execute(f"insert into audit.run_results values ({marks})", list(row.values()))


def came(
    tables: duckdb.DuckDBPyConnection, load: int, source: str, hours_ago: float, **others: Any
) -> None:
    row = {"status": "finished", "num_rows": 10, "message": None} | others
    told = [load, source, *row.values(), NOW - timedelta(hours=hours_ago)]
    tables.execute("insert into audit.loads values (?, ?, ?, ?, ?, ?)", told)


def outcome(name: str, status: str, failures: int | None = None, kind: str = "test") -> dict:
    return {"name": name, "status": status, "failures": failures, "resource_type": kind}


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        pytest.param([], "No test has run yet.", id="no data"),
        pytest.param([outcome("a", "pass")], "The only test is green.", id="one"),
        pytest.param(
            [outcome("a", "fail", 1)], "1 of 1 test is red: a (1 row).", id="one, and it is red"
        ),
        pytest.param(
            [outcome("a", "pass"), outcome("b", "pass"), outcome("m", "success", kind="model")],
            "All 2 tests are green.",
            id="all fine",
        ),
        pytest.param(
            [outcome("a", "pass"), outcome("b", "warn", 3)],
            "All 2 tests are green. 1 test with a warning: b.",
            id="a warning",
        ),
        pytest.param(
            [outcome("m", "error", kind="model")],
            "No test has run yet. 1 table could not be built when last tried: m.",
            id="a table",
        ),
        pytest.param(
            [
                *(outcome(name, "fail", 1200) for name in "abcd"),
                outcome("e", "error"),
                *(outcome(f"g{number}", "pass") for number in range(1000)),
                *(outcome(name, "error", kind="snapshot") for name in "wxyz"),
            ],
            "5 of 1,005 tests are red: a (1,200 rows), b (1,200 rows), c (1,200 rows) and 2 more. "
            "4 tables could not be built when last tried: w, x, y and 1 more.",
            id="many",
        ),
    ],
)
def test_is_it_right(outcomes: list[dict], sentence: str) -> None:
    assert is_right(outcomes) == sentence


def source(name: str, hours: float | None, limit: float = 24.0, failure: str | None = None) -> dict:
    return {
        **{"source": name, "domain": name[0], "hours": hours, "late_after_hours": limit},
        "loaded_at": None if hours is None else str(NOW - timedelta(hours=hours)),
        "failure": failure,
        "is_late": hours is not None and hours > limit,
    }


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        pytest.param([], "Nothing has come yet.", id="no data"),
        pytest.param([source("a.x", None)], "Nothing has come yet.", id="nothing came"),
        pytest.param(
            [source("a.x", 0.05)],
            "The only source that ever came is fresh: the last load was 2 Mar 2026, 11:57 UTC.",
            id="one",
        ),
        pytest.param(
            [source("a.x", 5), source("a.y", 0.005), source("b.x", None)],
            "All 2 sources that ever came are fresh: the last load was 2 Mar 2026, 11:59 UTC.",
            id="all fine, of another domain nothing",
        ),
        pytest.param(
            [source("a.x", 26), source("a.y", 1), source("a.z", None)],
            "1 of 2 sources is late: a.x (last load 1 Mar 2026, 10:00 UTC, late after 24 hours). "
            "Of 1 source nothing ever came: a.z.",
            id="late, and missing",
        ),
        pytest.param(
            [
                *(source(f"a.{number}", 24 * number, 2) for number in range(1, 6)),
                source("a.f", 1, 2, "no such file"),
            ],
            "5 of 6 sources are late: a.5 (last load 25 Feb 2026, 12:00 UTC, late after 2 hours), "
            "a.4 (last load 26 Feb 2026, 12:00 UTC, late after 2 hours), "
            "a.3 (last load 27 Feb 2026, 12:00 UTC, late after 2 hours) and 2 more. "
            "1 source fails to be taken in: a.f.",
            id="many",
        ),
    ],
)
def test_is_it_fresh(sources: list[dict], sentence: str) -> None:
    assert is_fresh(sources) == sentence


def node(name: str, seconds: float, earlier: float | None, *, slower: bool = False) -> dict:
    return {
        **{"name": name, "seconds": seconds, "earlier_seconds": earlier, "is_slower": slower},
        **{"runs": 5 if earlier else 2, "earlier_runs": 5 if earlier else 0},
    }


@pytest.mark.parametrize(
    ("nodes", "sentence"),
    [
        pytest.param([], "Nothing has been built yet.", id="no data"),
        pytest.param(
            [node("a", 1, None)],
            "Too few runs to tell whether it is getting slower: a table has been built 2 times at "
            "most, and 10 are needed.",
            id="one, too few runs",
        ),
        pytest.param(
            [node("a", 2, 1.9), node("b", 1, 1.25), node("new", 9, None)],
            "No table is getting slower: 2 tables together 3.0 s, before 3.1 s.",
            id="all fine",
        ),
        pytest.param(
            [
                *(node(name, 9 + index, 2, slower=True) for index, name in enumerate("abcd")),
                node("e", 1, 1),
            ],
            "4 are getting slower: d (2.0 s before, now 12.0 s), c (2.0 s before, now 11.0 s), "
            "b (2.0 s before, now 10.0 s) and 1 more; 5 tables together 43.0 s, before 9.0 s.",
            id="many",
        ),
    ],
)
def test_is_it_getting_slower(nodes: list[dict], sentence: str) -> None:
    assert is_slower(nodes) == sentence


def held(table: str, num_bytes: int, grown: int) -> dict:
    return {"table": table, "bytes": num_bytes, "grown_bytes": grown, "since": "2026-02-23 12"}


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        pytest.param([], "There are no tables here whose size is known.", id="no data"),
        pytest.param(
            [held("a.x", 999, 999)],
            "1 table holds 999 B.",
            id="one, of no earlier size",
        ),
        pytest.param(
            [held("a.x", 999, 998)],
            "1 table holds 999 B, 998 B more than on 2026-02-23; grown most: a.x (998 B).",
            id="one",
        ),
        pytest.param(
            [held("a.x", 2500, 0), held("a.y", 1500, 0)],
            "2 tables hold 4.0 kB, as on 2026-02-23.",
            id="nothing grew",
        ),
        pytest.param(
            [held("a.x", 10**6, -(10**6))],
            "1 table holds 1.0 MB, 1.0 MB less than on 2026-02-23.",
            id="smaller",
        ),
        pytest.param(
            [held(f"a.{number}", number * 10**9, number * 10**6) for number in range(1, 1001)],
            "1,000 tables hold 500.5 TB, 500.5 GB more than on 2026-02-23; "
            "grown most: a.1000 (1.0 GB), a.999 (999.0 MB), a.998 (998.0 MB).",
            id="many",
        ),
    ],
)
def test_what_has_grown(tables: list[dict], sentence: str) -> None:
    assert has_grown(tables) == sentence


@pytest.mark.parametrize(
    ("domains", "sentence"),
    [
        ([], "Nothing has been built yet."),
        ([("retail", None, None)], "Nothing has been built yet."),
        ([("retail", 3, 3)], "Readers see all that is built, of the only domain."),
        (
            [("network", 4, 4), ("retail", 3, 3)],
            "Readers see all that is built, of 2 domains.",
        ),
        (
            [("network", 4, 2), ("retail", 3, 3), ("wearables", 5, None)],
            "Of 2 domains readers do not see what is built: network (built up to load 4, readers "
            "see load 2), wearables (built up to load 5, never published).",
        ),
    ],
)
def test_do_readers_see_what_is_built(
    tables: duckdb.DuckDBPyConnection,
    ask: Ask,
    domains: list[tuple[str, int | None, int | None]],
    sentence: str,
) -> None:
    for name, built, published in domains:
        tables.execute(
            "insert into audit.domains (domain, number, built, published, recorded_at) "
            "values (?, 1, ?, ?, '2026-03-02 10:00:00+00')",
            [name, built, published],
        )
    assert is_published(where_domains_stand(ask)) == sentence


def test_what_is_built_anew_up_to_the_same_load_is_not_what_readers_see(
    tables: duckdb.DuckDBPyConnection, ask: Ask
) -> None:
    """A mended rule whose tests are red, or somebody went back to the answers before it."""
    state = json.dumps({"marts": {"m": 6}, "gold": {"m": 5}})
    tables.execute("insert into audit.domains values ('retail', 2, 7, 7, ?, 'i', now())", [state])
    assert is_published(where_domains_stand(ask)) == (
        "Of 1 domain readers do not see what is built: retail (built up to load 7, readers see "
        "load 7 as it was before)."
    )


def test_a_home_without_anything_has_its_sentences(tmp_path: Path, ask: Ask) -> None:
    for question in (ask, lambda _: None):
        health = health_of(question, SOURCES, tmp_path, NOW)
        assert health.outcomes == health.runs == health.nodes == health.tables == []
        assert health.rejects == health.unmatched == health.domains == []
        assert health.is_right == "No test has run yet."
        assert health.is_fresh == "Nothing has come yet."
        assert health.is_slower == "Nothing has been built yet."


def test_the_last_outcome_of_each_node_counts(tables: duckdb.DuckDBPyConnection, ask: Ask) -> None:
    note(tables, 1, "test gone", "fail", failures=7)
    note(tables, 170, "test healed", "fail", failures=7)
    note(tables, 170, "test red", "pass")
    note(tables, 171, "test healed", "pass")
    note(tables, 171, "test red", "fail", failures=2, message="Got 2")
    note(tables, 171, "test red", "skipped", recorded_at=NOW + timedelta(days=30))
    note(tables, 171, "model m", "success")
    found = [(row["name"], row["status"], row["failures"]) for row in last_outcomes(ask)]
    assert found == [("red", "fail", 2), ("m", "success", None), ("healed", "pass", None)]


def test_a_source_is_as_fresh_as_its_last_load(tables: duckdb.DuckDBPyConnection, ask: Ask) -> None:
    came(tables, 1, "shop.orders", 50)
    came(tables, 2, "shop.orders", 30, num_rows=5)
    came(tables, 3, "shop.orders", 2, status="failed", num_rows=0, message="cut off")
    came(tables, 3, "shop.clicks", 900)
    rows = {row.pop("source"): row for row in last_loads(ask, SOURCES, NOW)}
    assert rows["shop.orders"] == {
        **{"domain": "retail", "last_load": 2, "loaded_at": "2026-03-01 06:00:00+00:00"},
        **{"hours": 30.0, "late_after_hours": 24.0, "is_late": True, "num_rows": 15},
        "failure": "cut off",
    }
    clicks, servers = rows["shop.clicks"], rows["net.servers"]
    assert (clicks["hours"], clicks["is_late"], clicks["failure"]) == (900.0, False, None)
    assert (servers["hours"], servers["is_late"], servers["num_rows"]) == (None, False, 0)


def test_a_run_has_the_rows_that_came_since_the_build_before(
    tables: duckdb.DuckDBPyConnection, ask: Ask
) -> None:
    for load in range(1, 6):
        came(tables, load, "shop.orders", 1, num_rows=10**load)
        came(tables, load, "net.servers", 1, num_rows=7)
    for run in (2, 5):
        note(tables, run, "a")
        note(tables, run, "b", "error")
        note(tables, run, "test t", "fail", command="test", invocation_id=f"test {run}")
    note(tables, 5, "c", domain="network")
    found = [
        (row["domain"], row["command"], row["num_nodes"], row["num_red"], row["num_rows"])
        for row in last_runs(ask, SOURCES)
    ]
    assert sorted(found, key=repr) == [
        ("network", "build", 1, 0, 35),
        ("retail", "build", 2, 1, 110),
        ("retail", "build", 2, 1, 111_000),
        ("retail", "test", 1, 1, None),
        ("retail", "test", 1, 1, None),
    ]
    assert {row["seconds"] for row in last_runs(ask, SOURCES)} == {60.0}
    assert len(last_runs(ask, SOURCES, at_most=1)) == 2


def test_a_node_is_slower_by_the_medians_of_its_runs(
    tables: duckdb.DuckDBPyConnection, ask: Ask
) -> None:
    """Neither one slow run makes it so, nor a failed one; nor are tenths of a second worth it."""
    for run in range(40):
        note(tables, run, "one", seconds=50.0 if run == 39 else 2.0)
        note(tables, run, "slow", seconds=3.1 if run >= 35 else 2.0)
        note(tables, run, "fast", seconds=0.5 if run >= 35 else 0.1)
        note(tables, run, "failed", "error", seconds=90.0)
        # Twenty earlier ones count, the first of which are of long ago.
        note(tables, run, "long_ago", seconds=3.0 if run >= 15 else 1.0)
    for run in range(9):
        note(tables, run, "few", seconds=float(run))
    found = {
        row["name"]: (row["runs"], row["seconds"], row["earlier_runs"], row["earlier_seconds"])
        for row in seconds_of_nodes(ask)
    }
    assert found == {
        "one": (5, 2.0, 20, 2.0),
        "slow": (5, 3.1, 20, 2.0),
        "fast": (5, 0.5, 20, 0.1),
        "long_ago": (5, 3.0, 20, 3.0),
        "few": (5, 6.0, 4, None),
    }
    assert [row["name"] for row in seconds_of_nodes(ask) if row["is_slower"]] == ["slow"]


def test_sizes_are_those_that_delta_wrote(tmp_path: Path) -> None:
    def version(table: str, number: int, days_ago: float, num_bytes: int) -> None:
        log = tmp_path / table / "_delta_log"
        log.mkdir(parents=True, exist_ok=True)
        file = log / f"{number:020}.crc"
        file.write_text(json.dumps({"tableSizeBytes": num_bytes, "numFiles": number}))
        (log / f".{number:020}.crc.crc").write_bytes(b"crc")
        moment = (NOW - timedelta(days=days_ago)).timestamp()
        os.utime(file, (moment, moment))

    for number, days_ago, num_bytes in ((8, 30, 100), (9, 8, 300), (10, 6, 500), (11, 0, 400)):
        version("silver.db/old", number, days_ago, num_bytes)
    version("silver.db/new", 0, 2, 50)
    version("silver.db/new", 1, 1, 70)
    version("gold_build.db/cleaned", 5, 3, 20)
    version("gold_build.db/cleaned", 6, 2, 30)
    (tmp_path / "silver.db" / "none" / "_delta_log").mkdir(parents=True)
    rows = [tuple(row.values()) for row in sizes(tmp_path, NOW - timedelta(days=7))]
    week_ago = "2026-02-23 12:00:00+00:00"
    assert rows == [
        ("silver.old", 400, 11, 300, 100, week_ago),
        ("silver.new", 70, 1, 0, 70, week_ago),
        ("gold_build.cleaned", 30, 6, 20, 10, "2026-02-27 12:00:00+00:00"),
    ]


def test_every_declared_source_has_its_domain_and_says_when_it_is_late() -> None:
    declared = declared_sources(PROJECT)
    assert declared.keys() == read_declarations(PROJECT / "models").keys()
    assert declared["telecom.servers"] == Source("network", 24.0)
    assert declared["sbit.gym_logins"].domain == "wearables"
    assert declared["retail.orders"].domain == "retail"


def test_rejects_and_what_waits_are_counted_by_reason(
    tables: duckdb.DuckDBPyConnection, ask: Ask, tmp_path: Path
) -> None:
    tables.execute(
        """
        insert into audit.rejects
        select 'shop.orders', 'orders', 'row', reason, timestamptz '2026-03-01 00:00:00+00:00'
        from (values ('no time'), ('no key'), ('no time')) as refused (reason);
        insert into audit.unmatched values
        ('shop.clicks', 'clicks', 'no customer', 'a', 4),
        ('shop.clicks', 'clicks', 'no customer', 'b', 5);
        insert into audit.domains values
        ('retail', 1, null, null, '{}', 'i', timestamptz '2026-03-01 00:00:00+00:00'),
        ('retail', 2, 9, 8, '{"as_of": "cast(''2026-02-28 23:59:59'' as timestamp)"}', 'j',
        timestamptz '2026-03-01 01:00:00+00:00');
        """
    )
    health = health_of(ask, SOURCES, tmp_path, NOW)
    assert [(row["reason"], row["num_rows"]) for row in health.rejects] == [
        ("no time", 2),
        ("no key", 1),
    ]
    assert [(row["num_events"], row["num_keys"]) for row in health.unmatched] == [(9, 2)]
    [domain] = health.domains
    assert (domain["built"], domain["published"]) == (9, 8)
    assert domain["newest_event"] == "2026-02-28 23:59:59+00:00"
    assert not domain["is_held"]
    assert "held" not in health.is_published
    tables.execute(
        "insert into audit.domains values "
        "('retail', 3, 9, 4, '{\"held\": 2}', 'restore', timestamptz '2026-03-01 02:00:00+00:00')"
    )
    assert health_of(ask, SOURCES, tmp_path, NOW).is_published.endswith(
        "readers see load 4). Publishing of retail is held: readers see load 4."
    )
