"""Questions that all pages ask, and the rows of an answer.

A question is plain SQL that Spark and DuckDB both run. Whatever is large is summed up there.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta

from lakehouse.domains import State
from lakehouse.reading import Ask, Row
from lakehouse.report import words
from lakehouse.report.parts import Block, Column

# What became of a row, by `level` of audit.rejects; and what a block tells of it.
FATES = {"row": "row refused", "field": "field unread"}
WAITS = "waits"
REFUSED_COLUMNS = (
    Column("source", "source"),
    Column("entity", "of what"),
    Column("level", "fate"),
    Column("reason", "reason"),
    Column("num_rows", "how many", "count"),
)
# More days than these are summed up by week.
_MOST_DAYS = 120


def rows_of(ask: Ask, sql: str) -> list[Row]:
    """The rows of a question; none where what it reads is not there, as of a domain never built."""
    return ask(sql) or []


def freshness(ask: Ask, domain: str, newest: str | None = None) -> str:
    """How fresh a domain's answers are, in a sentence.

    Args:
        ask: Asks.
        domain: The domain.
        newest: The latest moment that its marts tell of, in the form of an answer's rows; by
            default the report time up to which they were built.
    """
    steps = rows_of(
        ask,
        f"""
        with present as (
            select published from audit.domains
            where domain = '{domain}' order by number desc limit 1
        )
        select
            present.published as load_id, min(steps.recorded_at) as published_at,
            min_by(steps.state, steps.number) as state
        from present inner join audit.domains as steps on present.published = steps.published
        where steps.domain = '{domain}'
        group by present.published
        """,
    )
    step = steps[0] if steps else {}
    newest = newest or State(0, None, None, json.loads(step.get("state") or "{}")).as_of
    data = f"Data up to {words.moment(newest)}" if newest else "No event yet"
    if not steps:
        return f"{data}."
    return (
        f"{data}; tested and published {words.moment(step['published_at'])} "
        f"(load {step['load_id']})."
    )


def refused(ask: Ask, source: str) -> tuple[str, Block | None]:
    """What of a source was refused or waits, in a sentence, and by reason where there is any."""
    rejects = rows_of(
        ask,
        f"""
        select source, entity, level, reason, count(*) as num_rows
        from audit.rejects
        where source like '{source}.%'
        group by source, entity, level, reason
        order by num_rows desc, source, entity, level, reason
        """,
    )
    waiting = rows_of(
        ask,
        f"""
        select source, entity, '{WAITS}' as level, reason, sum(num_events) as num_rows
        from audit.unmatched
        where source like '{source}.%'
        group by source, entity, reason
        order by num_rows desc, source, entity, reason
        """,
    )
    waiting = [row | {"num_rows": int(row["num_rows"])} for row in waiting]
    whole = [row for row in rejects if row["level"] == "row"]
    fields = [row for row in rejects if row["level"] == "field"]
    said = []
    if whole:
        total = sum(row["num_rows"] for row in whole)
        said.append(f"{words.count(total, 'row was', 'rows were')} refused{_reason(whole)}")
    if fields:
        total = sum(row["num_rows"] for row in fields)
        said.append(f"{words.count(total, 'field', 'fields')} could not be read{_reason(fields)}")
    if waiting:
        total = sum(row["num_rows"] for row in waiting)
        said.append(
            f"{words.count(total, 'event waits', 'events wait')} for what they refer to"
            f"{_reason(waiting)}"
        )
    if not said:
        return "Nothing was refused, and nothing waits.", None
    sentence = words.opening("; ".join(said)) + "."
    rows = [row | {"level": FATES[row["level"]]} for row in rejects] + waiting
    rows = most_first(rows)
    return sentence, Block("refused", "Refused or waiting", sentence, REFUSED_COLUMNS, rows)


def most_first(rows: list[Row]) -> list[Row]:
    """The rows of a block of what was refused, a fate's reason of most first: that which is said.

    A reason stands in a row for each table, which together are what a sentence counts.
    """
    sums = Counter[tuple[str, str]]()
    for row in rows:
        sums[row["level"], row["reason"]] += row["num_rows"]

    def place(row: Row) -> tuple[int | str, ...]:
        told = row["level"], row["reason"]
        return -sums[told], *told, -row["num_rows"], row["source"], row["entity"]

    return sorted(rows, key=place)


def _reason(rows: list[Row]) -> str:
    """The reason of all, or that of most and how many these are."""
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["reason"]] = sums.get(row["reason"], 0) + row["num_rows"]
    reason, many = min(sums.items(), key=lambda item: (-item[1], item[0]))
    return f": {reason}" if len(sums) == 1 else f", {words.number(many)} of them: {reason}"


def of_first(many: int, drawn: int, what: str, told: int | None = None) -> str:
    """What of so many rows is not in a chart, and not in the CSV; empty where all are in both."""
    said = ""
    if many > drawn:
        said = f"The chart shows the first {drawn} of {words.number(many)} {what}."
    if told is not None and many > told:
        said += f" The CSV has the first {words.number(told)}; the mart has all."
    return said


def period_of(ask: Ask, mart: str) -> tuple[str, str]:
    """Whether to sum a mart up by `day` or by `week`, and the SQL of the period's first day."""
    [span] = rows_of(
        ask, f"select min(date) as first_date, max(date) as last_date from {mart}"
    ) or [{"first_date": None, "last_date": None}]
    if span["first_date"] is None:
        return "day", "date"
    first, last = (date.fromisoformat(span[name]) for name in ("first_date", "last_date"))
    if (last - first).days <= _MOST_DAYS:
        return "day", "date"
    return "week", "cast(date_trunc('week', date) as date)"


def periods(unit: str, rows: list[Row]) -> tuple[str, ...]:
    """All days, or Mondays of weeks, from the first to the last `period` of rows."""
    if not rows:
        return ()
    ends = [date.fromisoformat(row["period"]) for row in rows]
    step = timedelta(days=1 if unit == "day" else 7)
    many = (max(ends) - min(ends)) // step + 1
    return tuple((min(ends) + step * number).isoformat() for number in range(many))


def days_between(first: str, last: str) -> int:
    """How many days later the last date is."""
    return (date.fromisoformat(last) - date.fromisoformat(first)).days
