"""Questions that all pages ask, and the rows of an answer.

A question is plain SQL that Spark and DuckDB both run. Whatever is large is summed up there.
"""

from __future__ import annotations

from collections.abc import Callable

from lakehouse.report import words
from lakehouse.report.parts import Block, Column, Row

# The rows of a statement, in values that JSON has; None: what it reads is not there.
Ask = Callable[[str], list[Row] | None]


def rows_of(ask: Ask, sql: str) -> list[Row]:
    """The rows of a question; none where what it reads is not there, as of a domain never built."""
    return ask(sql) or []


def freshness(ask: Ask, domain: str, newest: str | None) -> str:
    """How fresh a domain's answers are, in a sentence.

    Args:
        ask: Asks.
        domain: The domain.
        newest: The latest moment that its data tells of, in the form of an answer's rows.
    """
    steps = rows_of(
        ask,
        f"""
        with present as (
            select published from audit.domains
            where domain = '{domain}' order by number desc limit 1
        )
        select present.published as load_id, min(steps.recorded_at) as published_at
        from present inner join audit.domains as steps on present.published = steps.published
        where steps.domain = '{domain}'
        group by present.published
        """,
    )
    data = f"Data up to {words.moment(newest)}" if newest else "No event yet"
    if not steps:
        return f"{data}."
    [step] = steps
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
        select source, entity, 'waits' as level, reason, sum(num_events) as num_rows
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
        said.append(f"{words.count(total, 'row was', 'rows were')} refused ({_reasons(whole)})")
    if fields:
        total = sum(row["num_rows"] for row in fields)
        said.append(
            f"{words.count(total, 'field', 'fields')} could not be read ({_reasons(fields)})"
        )
    if waiting:
        total = sum(row["num_rows"] for row in waiting)
        said.append(
            f"{words.count(total, 'event waits', 'events wait')} for what they refer to "
            f"({_reasons(waiting)})"
        )
    if not said:
        return "Nothing was refused, and nothing waits.", None
    sentence = words.opening("; ".join(said)) + "."
    fates = {"row": "row refused", "field": "field unread", "waits": "waits"}
    rows = [row | {"level": fates[row["level"]]} for row in whole + fields + waiting]
    columns = (
        Column("source", "source"),
        Column("entity", "of what"),
        Column("level", "fate"),
        Column("reason", "reason"),
        Column("num_rows", "how many", "count"),
    )
    return sentence, Block("refused", "Refused or waiting", sentence, columns, rows)


def _reasons(rows: list[Row]) -> str:
    sums: dict[str, int] = {}
    for row in rows:
        sums[row["reason"]] = sums.get(row["reason"], 0) + row["num_rows"]
    ordered = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    return words.listing([f"{reason}: {words.number(many)}" for reason, many in ordered], 3)
