"""How figures and lists are said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime

from lakehouse.report.parts import Column

Number = int | float


def number(value: Number, digits: int = 0) -> str:
    """`1,234.5`; a figure that rounds to nothing without a sign."""
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def share(value: float, digits: int = 0) -> str:
    """`12%` of 0.12; what is something is never said to be nothing, nor all what is not all."""
    if digits == 0 and 0 < value < 0.01:
        return "under 1%"
    if digits == 0 and 0.99 < value < 1:
        return "over 99%"
    return f"{number(100 * value, digits)}%"


def count(value: int, singular: str, plural: str = "") -> str:
    """`1 server`, `2 servers`, `no servers`."""
    name = singular if value == 1 else plural or f"{singular}s"
    return f"{number(value) if value else 'no'} {name}"


def listing(items: Sequence[str], most: int = 3, rest: str = "more") -> str:
    """`a, b and c`, or `a, b, c and 4 more`."""
    shown = list(items[:most])
    if len(items) > most:
        shown.append(f"{number(len(items) - most)} {rest}")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def opening(text: str) -> str:
    """A sentence with its first letter as a capital one."""
    return text[:1].upper() + text[1:]


def day(text: str) -> str:
    """`2 Mar 2026` of `2026-03-02`."""
    moment = date.fromisoformat(text[:10])
    return f"{moment.day} {moment:%b %Y}"


def days(first: str, last: str) -> str:
    """`on 2 Mar 2026`, `from 2 to 3 Mar 2026`, or with the month and year where they differ."""
    if first[:10] == last[:10]:
        return f"on {day(first)}"
    begin, end = date.fromisoformat(first[:10]), date.fromisoformat(last[:10])
    told = f"{begin.day}"
    if (begin.year, begin.month) != (end.year, end.month):
        told += f" {begin:%b}"
    if begin.year != end.year:
        told += f" {begin.year}"
    return f"from {told} to {day(last)}"


def moment(text: str, *, seconds: bool = False) -> str:
    """`2 Mar 2026, 14:05 UTC` of a moment in the form of an answer's rows."""
    return f"{day(text)}, {text[11 : 19 if seconds else 16]} UTC"


def short_moment(text: str) -> str:
    """`2 Mar 14:05`, in UTC."""
    exact = datetime.fromisoformat(text)
    return f"{exact.day} {exact:%b %H:%M}"


def machine_moment(text: str) -> str:
    """A moment as ISO 8601 has it, in UTC: `2026-03-02T14:05:00Z`."""
    exact = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return exact.isoformat().replace("+00:00", "Z")


def cell(value: object, column: Column) -> str:
    """A value as a table shows it; an unknown one is a dash."""
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Number):
        if column.kind == "share":
            return number(100 * value, column.digits)
        return number(value, column.digits if column.kind == "number" else 0)
    return str(value)[:16] if column.kind == "time" else str(value)
