"""Domains: what belongs to each, where it stands, and whether there is anything to do for it.

A domain (wearables, network) is built, tested and published as a whole. dbt appends a row to
`audit.domains` for each step; the one with the highest number is the domain's present state.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pyspark.sql import Row, SparkSession

JOURNAL = "audit.domains"
# Who writes rows of it that show readers the same rows in other files.
UPKEEP = "upkeep"
# What a view of a mart shows, as Spark tells it.
_PINNED = re.compile(r"^View Text: .* version as of (\d+)", re.IGNORECASE | re.MULTILINE)
# The moment in a literal of SQL.
_MOMENT = re.compile(r"'(\d[^']*)'")
# How dbt keeps what others can read.
_RELATIONS = ("incremental", "table", "snapshot", "seed", "view")
# Up to so many new rows, to compile the statements that work on them costs more than they do.
_SMALL_WORK_ROWS = 200_000


@dataclass(frozen=True)
class Domain:
    """What belongs to a domain.

    Attributes:
        name: Its name.
        tables: What its nodes keep, views too: `<schema>.<table>`.
        sources: What they read: `<source>.<table>`.
    """

    name: str
    tables: frozenset[str]
    sources: frozenset[str]


@dataclass(frozen=True)
class State:
    """Where a domain stands.

    Attributes:
        number: Of the row that says so.
        built: The load up to which all its tables have come; None: they never have.
        published: The load that readers see; None: they see nothing.
        details: The rest of the row, as docs/incremental.md describes it.
    """

    number: int
    built: int | None
    published: int | None
    details: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, row: Row) -> State:
        """The state that a row of the journal tells."""
        details = json.loads(row["state"] or "{}")
        return cls(row["number"], row["built"], row["published"], details)

    @property
    def pending(self) -> list[str]:
        """The nodes that have to be built anew before `built` may move."""
        return self.details.get("pending") or []

    @property
    def is_being_written(self) -> bool:
        """Whether a run has begun to write its tables and no whole build has ended since."""
        return bool(self.details.get("is_being_written"))

    @property
    def is_published(self) -> bool:
        """Whether readers see what is built."""
        return self.published == self.built and self.versions("gold") == self.versions("marts")

    @property
    def held(self) -> int | None:
        """The publication to which somebody went back, so that no other one follows it."""
        return self.details.get("held")

    @property
    def as_of(self) -> str | None:
        """The report time up to which it is built, UTC."""
        moment = _MOMENT.search(self.details.get("as_of") or "")
        return moment[1] if moment else None

    def versions(self, of: str) -> dict[str, int]:
        """The versions of its `marts` as built, of those in `gold`, or read of its `feeds`."""
        return self.details.get(of) or {}


@dataclass(frozen=True)
class News:
    """What there is to do for a domain.

    Attributes:
        reason: Why it has to be built; empty: it is built, and has to be tested.
        is_small: Whether few rows are to be built.
        is_first: Whether nothing has ever been built, so that these rows are all there are.
    """

    reason: str = ""
    is_small: bool = False
    is_first: bool = False


def domains_of(nodes: Iterable[Any]) -> list[Domain]:
    """The domains of a project, by name.

    Args:
        nodes: The nodes of dbt's manifest; each names its domain in its config's `meta`.
    """
    tables: dict[str, set[str]] = {}
    sources: dict[str, set[str]] = {}
    for node in nodes:
        if name := (node.config.meta or {}).get("domain"):
            tables.setdefault(name, set())
            sources.setdefault(name, set())
            if node.config.materialized in _RELATIONS:
                tables[name].add(f"{node.schema}.{node.alias}")
            for parent in node.depends_on_nodes:
                if parent.startswith("source."):
                    sources[name].add(".".join(parent.split(".")[-2:]))
    return [
        Domain(name, frozenset(tables[name]), frozenset(sources[name])) for name in sorted(tables)
    ]


def states_of(spark: SparkSession) -> dict[str, State]:
    """Where each domain stands that dbt has begun to build."""
    if not spark.catalog.tableExists(JOURNAL):
        return {}
    rows = spark.sql(
        "select domain, max_by(struct(number, built, published, state), number) as last "
        f"from {JOURNAL} group by domain"
    ).collect()
    return {row["domain"]: State.of(row["last"]) for row in rows}


def held_line(domain: str, state: State) -> str:
    """That publishing is held, and how to go on; empty where it is not."""
    if state.held is None:
        return ""
    return (
        f"publishing is held, and readers see load {state.published}; go on with: lakehouse "
        f"restore {domain} --release"
    )


def append_state(spark: SparkSession, domain: str, state: State, writer: str) -> None:
    """Writes down where a domain stands from now on, in place of an invocation of dbt."""
    row = (
        *(domain, state.number, state.built, state.published),
        *(json.dumps(state.details), writer, datetime.now(UTC)),
    )
    columns = (
        "domain string, number bigint, built bigint, published bigint, state string, "
        "invocation_id string, recorded_at timestamp"
    )
    spark.createDataFrame([row], columns).writeTo(JOURNAL).append()


def tables_of(spark: SparkSession, schema: str) -> set[str]:
    """The names of the tables, no views, of a schema, which need not be there."""
    names = _names_in(spark, schema)
    if not names:
        return names
    return names - {row["viewName"] for row in spark.sql(f"show views in {schema}").collect()}


def _names_in(spark: SparkSession, schema: str) -> set[str]:
    if not spark.catalog.databaseExists(schema):
        return set()
    return {row["tableName"] for row in spark.sql(f"show tables in {schema}").collect()}


def shown_versions(spark: SparkSession) -> dict[str, int]:
    """The version of each mart that readers see, by the views of `gold`."""
    if not spark.catalog.databaseExists("gold"):
        return {}
    rows = spark.sql("show table extended in gold like '*'").collect()
    found = {row["tableName"]: _PINNED.search(row["information"]) for row in rows}
    return {name: int(pinned[1]) for name, pinned in found.items() if pinned}


def news_of(
    spark: SparkSession, domains: Collection[Domain], states: Mapping[str, State]
) -> dict[str, News]:
    """What there is to do, for the domains for which there is anything.

    A domain of which nothing has ever come has no news, nor has one that a build has left as it
    should be, published or held. One whose views fell behind by a kill has some: a build begins
    with putting them right.

    Args:
        spark: A session on the engine.
        domains: The domains of the project.
        states: Where they stand.
    """
    news = {}
    shown = shown_versions(spark) if states else {}
    for domain in domains:
        state = states.get(domain.name)
        if found := _news_of(spark, domain, state, shown):
            news[domain.name] = found
    return news


def _news_of(
    spark: SparkSession, domain: Domain, state: State | None, shown: Mapping[str, int]
) -> News | None:
    reasons = []
    loads, num_rows = _arrived(spark, domain, (state and state.built) or 0)
    if loads:
        reasons.append(loads)
    elif state is None:
        return None
    is_anew = False
    if state:
        schemas = {table.split(".")[0] for table in domain.tables}
        there = {f"{schema}.{name}" for schema in schemas for name in _names_in(spark, schema)}
        missing = sorted(domain.tables - there)
        is_anew = state.built is not None and bool(missing or state.pending)
        if state.built is None:
            reasons.append("never built whole")
        elif missing:
            reasons.append(f"missing: {', '.join(missing)}")
        if state.pending:
            reasons.append(f"to be built anew: {', '.join(state.pending)}")
        elif state.is_being_written:
            reasons.append("written since it was last built whole")
        if not reasons and (behind := _behind(domain, state, shown)):
            reasons.append(f"readers do not see what is published: {', '.join(behind)}")
    if not reasons:
        return None if state and (state.is_published or state.held is not None) else News()
    is_small = not is_anew and num_rows is not None and num_rows <= _SMALL_WORK_ROWS
    is_first = state is None or state.built is None
    return News("; ".join(reasons), is_small, is_first)


def _behind(domain: Domain, state: State, shown: Mapping[str, int]) -> list[str]:
    """The marts of which readers see another version than is written down as published."""
    return sorted(
        mart
        for mart, version in state.versions("gold").items()
        if f"gold_build.{mart}" in domain.tables and shown.get(mart) != version
    )


def _arrived(spark: SparkSession, domain: Domain, built: int) -> tuple[str, int | None]:
    """The closed loads after `built` in which a source of the domain took part, if any.

    Returns:
        Their numbers, in words, and how many rows came; None: of a load that was never closed
        nobody knows.
    """
    if not domain.sources:
        return "", 0
    sources = ", ".join(f"'{source}'" for source in sorted(domain.sources))
    is_ours = f"source in ({sources})"
    [row] = spark.sql(
        "select max(if(status = 'closed', load_id, null)) as cut, "
        "count_if(status = 'closed') as num_closed, "
        f"min(if({is_ours}, load_id, null)) as first, "
        f"coalesce(sum(if({is_ours}, num_rows, 0)), 0) as num_rows "
        f"from audit.loads where load_id > {built}"
    ).collect()
    if row["cut"] is None or row["first"] is None or row["first"] > row["cut"]:
        return "", 0
    is_known = row["num_closed"] == row["cut"] - built
    loads = (
        f"load {row['cut']}" if row["cut"] == built + 1 else f"loads {built + 1} to {row['cut']}"
    )
    return loads, row["num_rows"] if is_known else None
