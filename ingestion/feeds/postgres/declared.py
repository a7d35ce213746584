"""What a table's declaration says of the database that its rows are pulled from."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, cast

from ingestion.declaration import Column, DeclarationError, SourceTable, named, one_of, typed

_POSTGRES = ("table", "key", "changed_at", "columns", "compare_every", "max_deleted_share")
_POSTGRES_TABLE = re.compile(r"[^\s.\"\x00]+\.[^\s.\"\x00]+")
_POSTGRES_COLUMN = re.compile(r"[^\x00]+")
_PACE = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True)
class Postgres:
    """Where the rows of a table are pulled from, and how.

    Attributes:
        table: Schema and name in the database.
        key: The database's columns of the primary key.
        changed_at: The database's column that grows with each change of a row; None if there is
            none, and each pull compares all rows.
        columns: Of declared columns that are not the database's column of their name: the name, and
            the SQL expression over a row that they are.
        compare_every: How often all keys and digests are compared; None is in each pull.
        max_deleted_share: The share of 20 and more rows that one pull deletes unasked.
    """

    table: tuple[str, str]
    key: tuple[str, ...]
    changed_at: str | None = None
    columns: tuple[tuple[str, str], ...] = ()
    compare_every: timedelta | None = None
    max_deleted_share: Decimal = Decimal("0.2")

    @property
    def in_database(self) -> str:
        """The table's name there."""
        return ".".join(self.table)


# What a pulled row tells of itself: its key, the pull and its moment, and `upsert` or `delete`.
PULLED_COLUMNS = (
    Column("_pull_key", "string"),
    Column("_pull_id", "bigint"),
    Column("_pulled_at", "timestamp"),
    Column("_op", "string"),
)


def pulled_part(table: SourceTable) -> SourceTable:
    """The part of a table that is pulled: its files are our own, with `PULLED_COLUMNS`."""
    columns = (*table.columns, *PULLED_COLUMNS)
    return replace(
        table,
        columns=columns,
        format="parquet",
        unknown_columns="fail",
        part="pulled",
        rows="_pull_id is not null",
    )


def read_declared(table: SourceTable, pulled: dict[str, Any]) -> Postgres:
    """What a table's declaration says under `landing.postgres`.

    Raises:
        DeclarationError: It cannot be followed.
    """
    where = f"table {table.full_name}: postgres"
    names = [column.name for column in table.columns]
    for option in pulled:
        one_of(option, _POSTGRES, f"{where}: option")
    place = named(pulled.get("table"), _POSTGRES_TABLE, f"{where}: table (schema.name)")
    key = typed(pulled.get("key"), list, f"{where}: key")
    for column in key:
        named(column, _POSTGRES_COLUMN, f"{where}: column of the key")
    if not key or len(set(key)) < len(key):
        raise DeclarationError(
            f"{where}: key is {key!r}; name the columns of the database's primary key, each once"
        )
    changed_at = pulled.get("changed_at")
    if changed_at is not None:
        named(changed_at, _POSTGRES_COLUMN, f"{where}: changed_at")
    columns = typed(pulled.get("columns", {}), dict, f"{where}: columns")
    for name, expression in columns.items():
        one_of(name, names, f"{where}: a name in columns")
        if not isinstance(expression, str) or not expression.strip():
            raise DeclarationError(
                f"{where}: column {name} is {expression!r}; it must be an SQL expression over the "
                "row, as text"
            )
    return Postgres(
        table=cast(tuple[str, str], tuple(place.split("."))),
        key=tuple(key),
        changed_at=changed_at,
        columns=tuple(columns.items()),
        compare_every=_pace(pulled.get("compare_every"), f"{where}: compare_every"),
        max_deleted_share=_share(
            pulled.get("max_deleted_share", 0.2), f"{where}: max_deleted_share"
        ),
    )


def _pace(value: Any, what: str) -> timedelta | None:
    if value is None:
        return None
    match = _PACE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise DeclarationError(f"{what} is {value!r}; allowed: a number and s, m, h or d, as in 1h")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _share(value: Any, what: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DeclarationError(f"{what} is {value!r}; allowed: a number from 0 to 1")
    return Decimal(str(value))
