"""The declaration of the sources, read from dbt's own sources files.

    models/staging/<source>/_<source>__sources.yml  ->  {"<source>.<table>": SourceTable}

A table takes part when it has `config.meta.landing`: `format`, `key` and `unknown_columns`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import yaml

Format = Literal["csv", "json", "parquet"]
UnknownColumns = Literal["keep", "refuse"]
T = TypeVar("T")

# Source and table names become names of folders and of tables.
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DATA_TYPE = re.compile(
    r"string|bigint|int|double|boolean|timestamp|date"
    r"|decimal\(([1-9]|[12][0-9]|3[0-8]),\s*[0-9]{1,2}\)"
)
_DATA_TYPES = "string, bigint, int, double, boolean, timestamp, date, decimal(p,s)"
_LANDING = ("format", "key", "unknown_columns", "postgres")
_POSTGRES = ("table", "key", "changed_at", "columns", "compare_every", "max_deleted_share")
_POSTGRES_TABLE = re.compile(r"[^\s.\"\x00]+\.[^\s.\"\x00]+")
_POSTGRES_COLUMN = re.compile(r"[^\x00]+")
_PACE = re.compile(r"([1-9][0-9]{0,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class DeclarationError(ValueError):
    """A sources file declares a table in a way that ingestion cannot follow."""


@dataclass(frozen=True)
class Column:
    """A delivered column and its type in bronze, in dbt's spelling."""

    name: str
    data_type: str


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


# What a pulled row tells of itself: its key, the pull and its moment, and `upsert` or `delete`.
PULLED_COLUMNS = (
    Column("_pull_key", "string"),
    Column("_pull_id", "bigint"),
    Column("_pulled_at", "timestamp"),
    Column("_op", "string"),
)


@dataclass(frozen=True)
class SourceTable:
    """A table of a source, as its sources file declares it.

    Attributes:
        source: The source's name.
        name: The table's name within the source.
        identifier: `<source>_<name>`, the bronze table's name within its schema.
        columns: The delivered columns in their order, without the technical ones (`_...`).
        format: How files of this table are written.
        key: The columns that make up the business key.
        unknown_columns: What becomes of delivered columns that are not declared.
        postgres: Where rows are pulled from, beside the files that come; None if from nowhere.
        is_pulled: Whether this is the part of a table that is pulled; see `pulled`.
    """

    source: str
    name: str
    identifier: str
    columns: tuple[Column, ...]
    format: Format
    key: tuple[str, ...]
    unknown_columns: UnknownColumns
    postgres: Postgres | None = None
    is_pulled: bool = False

    @property
    def full_name(self) -> str:
        """`<source>.<table>`."""
        return f"{self.source}.{self.name}"

    @property
    def folder(self) -> str:
        """The name of its folders in inbox, landing and checkpoints."""
        return f"{self.full_name}.pulled" if self.is_pulled else self.full_name

    @property
    def pulled(self) -> SourceTable | None:
        """The part of the table that is pulled, whose files are our own; None without `postgres`.

        Its columns are the declared ones and `PULLED_COLUMNS`.
        """
        if self.postgres is None:
            return None
        columns = (*self.columns, *PULLED_COLUMNS)
        return replace(
            self, columns=columns, format="parquet", unknown_columns="keep", is_pulled=True
        )

    @property
    def bronze_name(self) -> str:
        """`bronze.<source>_<table>`."""
        return f"bronze.{self.identifier}"


def read_declarations(models_dir: Path) -> dict[str, SourceTable]:
    """Reads the sources files below a dbt project's `models` folder.

    Args:
        models_dir: The folder that holds `staging/<source>/_<source>__sources.yml`.

    Returns:
        The tables with `config.meta.landing`, sorted and keyed by `full_name`.

    Raises:
        DeclarationError: A declaration is wrong, or there is no sources file at all.
    """
    pattern = "staging/*/_*__sources.yml"
    tables: dict[str, SourceTable] = {}
    for file in sorted(models_dir.glob(pattern)):
        for table in _read_file(file):
            if any(table.identifier == other.identifier for other in tables.values()):
                raise DeclarationError(
                    f"{file}: table {table.full_name}: {table.bronze_name} is declared already; "
                    "each bronze table is declared once"
                )
            tables[table.full_name] = table
    if not tables:
        raise DeclarationError(
            f"{models_dir}: no table with config.meta.landing in {pattern}; declare one there"
        )
    return dict(sorted(tables.items()))


def _read_file(file: Path) -> Iterator[SourceTable]:
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DeclarationError(f"{file}: not a YAML file in UTF-8: {error}") from error
    for source in _items(_typed(document, dict, f"{file}: the file"), "sources", f"{file}"):
        for table in _items(source, "tables", f"{file}: source {source.get('name')}"):
            where = f"{file}: table {source.get('name')}.{table.get('name')}"
            config = _typed(table.get("config") or {}, dict, f"{where}: config")
            meta = _typed(config.get("meta") or {}, dict, f"{where}: config.meta")
            if "landing" in meta:
                landing = _typed(meta["landing"], dict, f"{where}: config.meta.landing")
                yield _read_table(source, table, landing, where)


def _read_table(
    source: dict[str, Any], table: dict[str, Any], landing: dict[str, Any], where: str
) -> SourceTable:
    source_name = _name(source.get("name"), _NAME, f"{where}: source name")
    name = _name(table.get("name"), _NAME, f"{where}: table name")
    identifier = f"{source_name}_{name}"
    _one_of(table.get("identifier"), (identifier,), f"{where}: identifier")
    for option in landing:
        _one_of(option, _LANDING, f"{where}: option of landing")
    file_format = _one_of(landing.get("format"), get_args(Format), f"{where}: format")
    unknown_columns = _one_of(
        landing.get("unknown_columns"),
        ("refuse",) if file_format == "csv" else get_args(UnknownColumns),
        f"{where}: unknown_columns of {file_format}",
    )
    columns = tuple(
        _read_column(column, file_format, where) for column in _items(table, "columns", where)
    )
    delivered = tuple(column for column in columns if not column.name.startswith("_"))
    names = [column.name for column in delivered]
    if not names:
        raise DeclarationError(
            f"{where}: no delivered column; declare at least one whose name does not begin with _"
        )
    _distinct([column.name.lower() for column in columns], f"{where}: columns")
    key = _typed(landing.get("key"), list, f"{where}: key")
    for column in key:
        _one_of(column, names, f"{where}: column of the key")
    if not key:
        raise DeclarationError(f"{where}: key is empty; allowed: some of {', '.join(names)}")
    _distinct(key, f"{where}: key")
    return SourceTable(
        source=source_name,
        name=name,
        identifier=identifier,
        columns=delivered,
        format=cast(Format, file_format),
        key=tuple(key),
        unknown_columns=cast(UnknownColumns, unknown_columns),
        postgres=_read_postgres(landing, names, where) if "postgres" in landing else None,
    )


def _read_postgres(landing: dict[str, Any], names: list[str], where: str) -> Postgres:
    where = f"{where}: postgres"
    pulled = _typed(landing["postgres"], dict, where)
    for option in pulled:
        _one_of(option, _POSTGRES, f"{where}: option")
    table = _name(pulled.get("table"), _POSTGRES_TABLE, f"{where}: table (schema.name)")
    key = _typed(pulled.get("key"), list, f"{where}: key")
    for column in key:
        _name(column, _POSTGRES_COLUMN, f"{where}: column of the key")
    if not key or len(set(key)) < len(key):
        raise DeclarationError(
            f"{where}: key is {key!r}; name the columns of the database's primary key, each once"
        )
    changed_at = pulled.get("changed_at")
    if changed_at is not None:
        _name(changed_at, _POSTGRES_COLUMN, f"{where}: changed_at")
    columns = _typed(pulled.get("columns", {}), dict, f"{where}: columns")
    for name, expression in columns.items():
        _one_of(name, names, f"{where}: a name in columns")
        if not isinstance(expression, str) or not expression.strip():
            raise DeclarationError(
                f"{where}: column {name} is {expression!r}; it must be an SQL expression over the "
                "row, as text"
            )
    return Postgres(
        table=cast(tuple[str, str], tuple(table.split("."))),
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


def _read_column(column: dict[str, Any], file_format: str, where: str) -> Column:
    name = _name(column.get("name"), _COLUMN_NAME, f"{where}: column name")
    data_type = column.get("data_type")
    if not isinstance(data_type, str) or not _DATA_TYPE.fullmatch(data_type):
        raise DeclarationError(
            f"{where}: column {name}: data_type is {data_type!r}; allowed: {_DATA_TYPES}"
        )
    if file_format != "parquet" and data_type != "string" and not name.startswith("_"):
        raise DeclarationError(
            f"{where}: column {name}: data_type is {data_type!r}; {file_format} columns keep the "
            "delivered text, allowed: string"
        )
    return Column(name, data_type)


def _typed(value: Any, kind: type[T], what: str) -> T:
    if not isinstance(value, kind):
        expected = "mapping" if kind is dict else "list"
        raise DeclarationError(f"{what} is {value!r}; it must be a {expected}")
    return value


def _items(mapping: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    items = _typed(mapping.get(key), list, f"{where}: {key}")
    return [_typed(item, dict, f"{where}: an item of {key}") for item in items]


def _name(value: Any, pattern: re.Pattern[str], what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise DeclarationError(f"{what} is {value!r}; allowed: {pattern.pattern}")
    return value


def _one_of(value: Any, allowed: tuple[str, ...] | list[str], what: str) -> str:
    if value not in allowed:
        raise DeclarationError(f"{what} is {value!r}; allowed: {', '.join(allowed)}")
    return cast(str, value)


def _distinct(names: list[str], what: str) -> None:
    if len(set(names)) < len(names):
        raise DeclarationError(f"{what}: a name is there twice, case aside; name each once")
