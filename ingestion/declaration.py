"""The declaration of the sources, read from dbt's own sources files.

    models/staging/<source>/_<source>__sources.yml  ->  {"<source>.<table>": SourceTable}

A table takes part when it has `config.meta.landing`: `format`, `key`, where it is not `rescue`
`unknown_columns`, and for each way in besides files what its feed has to know, by the feed's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import yaml

Format = Literal["csv", "json", "parquet"]
UnknownColumns = Literal["rescue", "fail"]
T = TypeVar("T")

# Source and table names become names of folders and of tables.
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DATA_TYPE = re.compile(
    r"string|bigint|int|double|boolean|timestamp|date"
    r"|decimal\(([1-9]|[12][0-9]|3[0-8]),\s*[0-9]{1,2}\)"
)
_DATA_TYPES = "string, bigint, int, double, boolean, timestamp, date, decimal(p,s)"
_LANDING = ("format", "key", "unknown_columns")


class DeclarationError(ValueError):
    """A sources file declares a table in a way that ingestion cannot follow."""


@dataclass(frozen=True)
class Column:
    """A delivered column and its type in bronze, in dbt's spelling."""

    name: str
    data_type: str


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
        unknown_columns: What becomes of delivered columns that are not declared: `rescue` keeps
            them in `_rescued`, `fail` refuses the file.
        read_rescued: The columns that staging reads in `_rescued`: not declared, and no drift.
        technical: The columns that ingestion adds, `_...`.
        feeds: What is said to the feeds by which it may come, besides files, by their names.
        part: Of the part of a table whose files are a feed's own, the name; else empty.
        rows: The condition in SQL that a row of bronze came by files of this table or part.
    """

    source: str
    name: str
    identifier: str
    columns: tuple[Column, ...]
    format: Format
    key: tuple[str, ...]
    unknown_columns: UnknownColumns = "rescue"
    read_rescued: frozenset[str] = frozenset()
    technical: tuple[Column, ...] = ()
    feeds: Mapping[str, Any] = field(default_factory=dict, hash=False)
    part: str = ""
    rows: str = "true"

    @property
    def full_name(self) -> str:
        """`<source>.<table>`."""
        return f"{self.source}.{self.name}"

    @property
    def folder(self) -> str:
        """The name of its folders in inbox, landing and the others."""
        return f"{self.full_name}.{self.part}" if self.part else self.full_name

    @property
    def bronze_name(self) -> str:
        """`bronze.<source>_<table>`."""
        return f"bronze.{self.identifier}"


def is_column_name(name: str) -> bool:
    """Whether a delivered column of this name can be declared."""
    return bool(_COLUMN_NAME.fullmatch(name)) and not name.startswith("_")


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
    for source in _items(typed(document, dict, f"{file}: the file"), "sources", f"{file}"):
        for table in _items(source, "tables", f"{file}: source {source.get('name')}"):
            where = f"{file}: table {source.get('name')}.{table.get('name')}"
            config = typed(table.get("config") or {}, dict, f"{where}: config")
            meta = typed(config.get("meta") or {}, dict, f"{where}: config.meta")
            if "landing" in meta:
                landing = typed(meta["landing"], dict, f"{where}: config.meta.landing")
                yield _read_table(source, table, landing, where)


def _read_table(
    source: dict[str, Any], table: dict[str, Any], landing: dict[str, Any], where: str
) -> SourceTable:
    source_name = named(source.get("name"), _NAME, f"{where}: source name")
    name = named(table.get("name"), _NAME, f"{where}: table name")
    identifier = f"{source_name}_{name}"
    one_of(table.get("identifier"), (identifier,), f"{where}: identifier")
    from ingestion.feed import all_feeds  # noqa: PLC0415 - feeds know what a declaration is

    names_of_feeds = [name for name in all_feeds() if name != "files"]  # everybody's way in
    for option in landing:
        one_of(option, (*_LANDING, *names_of_feeds), f"{where}: option of landing")
    file_format = one_of(landing.get("format"), get_args(Format), f"{where}: format")
    unknown_columns = one_of(
        landing.get("unknown_columns", "rescue"),
        get_args(UnknownColumns),
        f"{where}: unknown_columns",
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
    key = typed(landing.get("key"), list, f"{where}: key")
    for column in key:
        one_of(column, names, f"{where}: column of the key")
    if not key:
        raise DeclarationError(f"{where}: key is empty; allowed: some of {', '.join(names)}")
    _distinct(key, f"{where}: key")
    declared = SourceTable(
        source=source_name,
        name=name,
        identifier=identifier,
        columns=delivered,
        format=cast(Format, file_format),
        key=tuple(key),
        unknown_columns=cast(UnknownColumns, unknown_columns),
        read_rescued=frozenset(
            name
            for column in _items(table, "columns", where)
            if column["name"] == "_rescued"
            for name in ((column.get("config") or {}).get("meta") or {}).get("reads", ())
        ),
        technical=tuple(column for column in columns if column not in delivered),
    )
    feeds = all_feeds()
    said = {
        name: feeds[name].declared(declared, typed(landing[name], dict, f"{where}: {name}"))
        for name in names_of_feeds
        if name in landing
    }
    return replace(declared, feeds=said)


def _read_column(column: dict[str, Any], file_format: str, where: str) -> Column:
    name = named(column.get("name"), _COLUMN_NAME, f"{where}: column name")
    data_type = column.get("data_type")
    is_technical = name.startswith("_")
    if is_technical and data_type == "binary":
        return Column(name, data_type)
    if not isinstance(data_type, str) or not _DATA_TYPE.fullmatch(data_type):
        raise DeclarationError(
            f"{where}: column {name}: data_type is {data_type!r}; allowed: {_DATA_TYPES}"
        )
    if file_format != "parquet" and data_type != "string" and not is_technical:
        raise DeclarationError(
            f"{where}: column {name}: data_type is {data_type!r}; {file_format} columns keep the "
            "delivered text, allowed: string"
        )
    return Column(name, data_type)


def typed(value: Any, kind: type[T], what: str) -> T:
    """The value, a mapping or a list.

    Raises:
        DeclarationError: It is none.
    """
    if not isinstance(value, kind):
        expected = "mapping" if kind is dict else "list"
        raise DeclarationError(f"{what} is {value!r}; it must be a {expected}")
    return value


def _items(mapping: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    items = typed(mapping.get(key), list, f"{where}: {key}")
    return [typed(item, dict, f"{where}: an item of {key}") for item in items]


def named(value: Any, pattern: re.Pattern[str], what: str) -> str:
    """The value, text of this pattern.

    Raises:
        DeclarationError: It is none.
    """
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise DeclarationError(f"{what} is {value!r}; allowed: {pattern.pattern}")
    return value


def one_of(value: Any, allowed: tuple[str, ...] | list[str], what: str) -> str:
    """The value, one of those that are allowed.

    Raises:
        DeclarationError: It is none.
    """
    if value not in allowed:
        raise DeclarationError(f"{what} is {value!r}; allowed: {', '.join(allowed)}")
    return cast(str, value)


def _distinct(names: list[str], what: str) -> None:
    if len(set(names)) < len(names):
        raise DeclarationError(f"{what}: a name is there twice, case aside; name each once")
