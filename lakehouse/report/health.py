"""The page of the lakehouse's health: is it right, is it fresh, is it getting slower."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from lakehouse.health import Health, declared_sources, health_of
from lakehouse.reading import Ask
from lakehouse.report import charts, network, wearables, words
from lakehouse.report.data import FATES, REFUSED_COLUMNS, WAITS, most_first, of_first
from lakehouse.report.parts import SHOWN, Block, Column, Page
from lakehouse.settings import PROJECT

KEY, TITLE = "health", "Health"
HINT = ("lakehouse generate wearables", "lakehouse run", "lakehouse report")
_BYTES = 1_000_000


def page(ask: Ask, warehouse: Path | None = None, now: datetime | None = None) -> Page:
    """The page, from what dbt, ingestion and Delta have written down.

    Args:
        ask: Asks.
        warehouse: The folder of the tables; None where it is no folder, and no sizes are told.
        now: The moment; by default this one.
    """
    now = now or datetime.now(UTC)
    health = health_of(ask, declared_sources(PROJECT), warehouse, now)
    if not health.outcomes and not any(row["loaded_at"] for row in health.sources):
        return Page(KEY, TITLE, ("Nothing has come and nothing has run yet.",), hint=HINT)
    is_red = any(row["status"] in ("error", "fail", "runtime error") for row in health.outcomes)
    is_late = any(row["is_late"] or row["failure"] for row in health.sources)
    blocks = [
        _domains(health, ask),
        _sources(health),
        _tests(health),
        _refused(health),
        _runs(health),
        _nodes(health),
        _tables(health),
    ]
    return Page(
        KEY,
        TITLE,
        (health.is_right, health.is_fresh, health.is_slower),
        is_red or is_late,
        tuple(block for block in blocks if block.rows),
        f"As of {words.moment(str(now))}.",
    )


def _tests(health: Health) -> Block:
    """What is not green; all that is green is a number in the sentence."""
    rows = [row for row in health.outcomes if row["status"] not in ("success", "pass")]
    columns = (
        Column("name", "test or table"),
        Column("domain", "domain"),
        Column("status", "outcome"),
        Column("failures", "rows found", "count"),
        Column("message", "reason"),
        Column("run_started_at", "run of", "time"),
    )
    return Block("outcomes", "Not green", health.is_right, columns, rows)


def _domains(health: Health, ask: Ask) -> Block:
    """How far readers see, and how far it is built; what a red test holds back shows here."""
    columns = (
        Column("domain", "domain"),
        Column("published", "readers see load", "count"),
        Column("built", "built up to load", "count"),
        Column("newest_event", "latest event", "time"),
        Column("recorded_at", "last built or tested", "time"),
        Column("is_behind", "behind", "flag"),
    )
    title = "What readers see"
    of_page = {page.KEY: page.newest for page in (network, wearables)}
    rows = [
        row | {"newest_event": of_page[row["domain"]](ask)} if row["domain"] in of_page else row
        for row in health.domains
    ]
    return Block("domains", title, health.is_published, columns, rows)


def _sources(health: Health) -> Block:
    rows = [row for row in health.sources if row["loaded_at"]]
    columns = (
        Column("source", "source"),
        Column("loaded_at", "last load", "time"),
        Column("late_after_hours", "late after", "number", "hours"),
        Column("is_late", "late", "flag"),
        Column("num_rows", "rows so far", "count"),
        Column("failure", "why its last load failed"),
    )
    return Block("sources", "What came, and when", health.is_fresh, columns, rows)


def _refused(health: Health) -> Block:
    rows = [row | {"level": FATES[row["level"]]} for row in health.rejects]
    for row in health.unmatched:
        told = {name: row[name] for name in ("source", "entity", "reason")}
        rows.append(told | {"level": WAITS, "num_rows": row["num_events"], "last_at": None})
    columns = (*REFUSED_COLUMNS, Column("last_at", "last", "time"))
    sentence = "What was refused, or waits for what it refers to, by reason."
    return Block("refused", "Refused or waiting", sentence, columns, most_first(rows))


def _runs(health: Health) -> Block:
    columns = (
        Column("domain", "domain"),
        Column("command", "command of dbt"),
        Column("started_at", "began", "time"),
        Column("seconds", "took", "number", "s"),
        Column("num_nodes", "nodes", "count"),
        Column("num_red", "red", "count"),
        Column("num_rows", "rows that had come", "count"),
    )
    sentence = "The last runs of each domain, the newest first."
    return Block("runs", "Last runs", sentence, columns, health.runs)


def _nodes(health: Health) -> Block:
    name, seconds = Column("name", "table"), Column("seconds", "last builds", "number", "s")
    earlier = Column("earlier_seconds", "builds before", "number", "s")
    # Strokes of nothing would be marks that say nothing.
    known = any(row["earlier_seconds"] is not None for row in health.nodes)
    title = "Seconds of a build, median of the last"
    title += " (bar) and of those before (stroke)" if known else ""
    drawn = charts.ranking(title, name, seconds, mark=earlier if known else None, alarm="is_slower")
    columns = (name, Column("domain", "domain"), seconds, earlier, Column("is_slower", "slower"))
    return Block(
        "nodes", "What takes longest", health.is_slower, columns, health.nodes, (drawn,),
        charted=SHOWN, left_out=of_first(len(health.nodes), SHOWN, "tables"),
    )  # fmt: skip


def _tables(health: Health) -> Block:
    rows = [
        row | {name: row[f"{name}_bytes" if name != "size" else "bytes"] / _BYTES
               for name in ("size", "earlier", "grown")}
        for row in health.tables
    ]  # fmt: skip
    name, size = Column("table", "table"), Column("size", "size", "number", "MB", 2)
    earlier = Column("earlier", "a week before, or at first", "number", "MB", 2)
    known = any(row["earlier"] for row in rows)
    title = "Size now (bar) and a week before (stroke)" if known else "Size now"
    drawn = charts.ranking(title, name, size, mark=earlier if known else None)
    grown, since = Column("grown", "grown by", "number", "MB", 2), Column("since", "since", "time")
    files = Column("files", "files", "count")
    columns = (name, size, earlier, grown, files, since) if known else (name, size, files)
    return Block(
        "tables", "What it holds", health.has_grown, columns, rows, (drawn,),
        charted=SHOWN, left_out=of_first(len(rows), SHOWN, "tables"),
    )  # fmt: skip
