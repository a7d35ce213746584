"""Schema drift: files whose columns are not the declared ones, and what becomes of them.

    delivered columns --by name, case aside--> declared columns, null where missing
                      `--what is not declared-> _rescued, a JSON object of text

The fields of a JSON line are found by their very names, and when it is read: see `feeds`.

Spark binds the columns of a CSV file by position and reads a stream with one schema. So a file that
would be read wrongly is transcribed before it lands: the same rows in the same order, the declared
columns in their order. Nearly all files are as declared and land as they came.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.declaration import Column, SourceTable, is_column_name

# Values of a Parquet file that are written at once, in bytes.
_GROUP_BYTES = 32 * 1024**2
# So many names at most stand in a line.
_MAX_NAMES = 20
# A field of a CSV line and what ends it. One without quotes may hold some, but not begin with one.
_FIELD = re.compile(r'(?:"(?P<quoted>[^"]*+(?:""[^"]*+)*+)"|(?P<plain>[^",][^,]*)|)(?P<end>,|\Z)')
# Arrow's types of the declared ones, but for decimals; see `arrow_type`.
ARROW_TYPES = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}


@dataclass(frozen=True)
class Drift:
    """How the columns of a delivered file differ from the declared ones; by default not at all.

    Attributes:
        unknown: The columns that are not declared, by their delivered names, each with the type
            that would declare it; where none would, the delivered one.
        missing: The declared columns that are not there.
        is_transcribed: Whether Spark would not read the file as it is.
        miscased: The fields of JSON that differ from a declared one in case alone, and that one.
        is_by_row: Whether rows that have such a column are counted, not all of a file that has it.
    """

    unknown: tuple[Column, ...] = ()
    missing: tuple[str, ...] = ()
    is_transcribed: bool = False
    miscased: tuple[tuple[str, str], ...] = ()
    is_by_row: bool = False

    def __str__(self) -> str:
        """What is told of it, in a line; nothing where just what is declared is there."""
        told = []
        if self.unknown:
            names = _listed([column.name for column in self.unknown])
            told.append(f"not declared, kept in _rescued: {names}")
        told += [
            f"{name!r}, kept in _rescued, differs from the declared {declared!r} in case alone: "
            "have the sender correct it"
            for name, declared in self.miscased[:_MAX_NAMES]
        ]
        if self.missing:
            told.append(f"missing: {_listed(self.missing)}")
        return "; ".join(told)


NO_DRIFT = Drift()


def drift_of(delivered: Sequence[Column], table: SourceTable, *, is_transcribed: bool) -> Drift:
    """How columns differ from the declared ones; of their names no two are equal, case aside."""
    declared = {column.name.lower() for column in table.columns}
    names = {column.name.lower() for column in delivered}
    return Drift(
        unknown=tuple(
            column
            for column in delivered
            if column.name.lower() not in declared and column.name not in table.read_rescued
        ),
        missing=tuple(column.name for column in table.columns if column.name.lower() not in names),
        is_transcribed=is_transcribed,
    )


def drift_of_fields(names: Sequence[str], table: SourceTable) -> Drift:
    """How the names of fields of JSON differ, which are no declared ones."""
    declared = {column.name.lower(): column.name for column in table.columns}
    return Drift(
        tuple(Column(name, "string") for name in names if name.lower() not in declared),
        miscased=tuple(
            (name, declared[name.lower()]) for name in names if name.lower() in declared
        ),
        is_by_row=True,
    )


def places_of(names: Sequence[str], table: SourceTable) -> dict[str, int]:
    """At which place each declared column is delivered, by its name; without missing ones."""
    places = {name.lower(): place for place, name in enumerate(names)}
    return {
        column.name: places[column.name.lower()]
        for column in table.columns
        if column.name.lower() in places
    }


def declaration_of(columns: Iterable[Column]) -> str:
    """The lines that declare columns in a sources file; without those that cannot be declared."""
    return "\n".join(
        f"          - name: {column.name}\n"
        f"            data_type: {column.data_type}\n"
        "            description: To be described."
        for column in columns
        if is_column_name(column.name) and _is_declarable(column.data_type)
    )


def _listed(names: Sequence[str]) -> str:
    shown = [repr(name if len(name) <= 100 else f"{name[:100]}...") for name in names[:_MAX_NAMES]]
    if len(names) > _MAX_NAMES:
        shown.append(f"and {len(names) - _MAX_NAMES} more")
    return ", ".join(shown)


def _as_json(values: Mapping[str, str | None]) -> str | None:
    """What `_rescued` holds of a row; None where there is nothing."""
    found = {name: text for name, text in values.items() if text is not None}
    return json.dumps(found, ensure_ascii=False) if found else None


# --- CSV


def fields_of(line: str) -> list[str | None] | None:
    """The fields of a CSV line, None where nothing stands; None where its quotes are wrong."""
    fields: list[str | None] = []
    at = 0
    while match := _FIELD.match(line, at):
        quoted = match["quoted"]
        fields.append(match["plain"] if quoted is None else quoted.replace('""', '"'))
        if not match["end"]:
            return fields
        at = match.end()
    return None


def transcribed_lines(lines: Iterable[str], table: SourceTable) -> Iterator[str]:
    """The lines of a CSV file with the declared columns, `_rescued` and `_raw`.

    Args:
        lines: The delivered lines without those that are blank, the header first.
        table: The declaration.

    Yields:
        A line for each. One whose quotes are wrong or that has not as many fields as the header
        is held by `_raw` alone.
    """
    rest = iter(lines)
    names = [name or "" for name in fields_of(next(rest)) or ()]
    places = places_of(names, table)
    unknown = [place for place in range(len(names)) if place not in places.values()]
    yield _line([*(column.name for column in table.columns), "_rescued", "_raw"])
    for line in rest:
        fields = fields_of(line)
        if fields is None or len(fields) != len(names):
            yield _line([*[None] * len(table.columns), None, line])
            continue
        values = [
            fields[places[column.name]] if column.name in places else None
            for column in table.columns
        ]
        rescued = _as_json({names[place]: fields[place] for place in unknown})
        yield _line([*values, rescued, None])


def _line(values: Iterable[str | None]) -> str:
    quoted = ('"' + value.replace('"', '""') + '"' if value is not None else "" for value in values)
    return ",".join(quoted) + "\n"


# --- Parquet


def is_read(data_type: str, found: pa.DataType) -> bool:
    """Whether Spark reads a Parquet column of this Arrow type as the declared type."""
    if data_type == "timestamp":  # Spark does not read nanoseconds; without a zone it is UTC
        return bool(pa.types.is_timestamp(found) and found.unit != "ns")
    if data_type.startswith("decimal"):
        precision, scale = _digits(data_type)
        return bool(
            pa.types.is_decimal(found) and (found.precision, found.scale) == (precision, scale)
        )
    return bool(found == ARROW_TYPES[data_type])


def is_held(data_type: str, found: pa.DataType) -> bool:
    """Whether the declared type holds all values of an Arrow type, so that these may be cast."""
    if is_read(data_type, found) or pa.types.is_null(found):
        return True
    largest = _largest_whole(found)
    if data_type in ("bigint", "int"):
        return largest is not None and largest <= (2**63 if data_type == "bigint" else 2**31)
    if data_type == "double":
        return bool(pa.types.is_floating(found)) or (largest is not None and largest <= 2**53)
    if data_type.startswith("decimal"):
        precision, scale = _digits(data_type)
        if largest is not None:
            return bool(largest < 10 ** (precision - scale))
        return bool(
            pa.types.is_decimal(found)
            and found.scale <= scale
            and found.precision - found.scale <= precision - scale
        )
    return False


def _largest_whole(found: pa.DataType) -> int | None:
    """The largest number, sign aside, of a type of whole numbers; None for any other type."""
    if pa.types.is_integer(found):
        return int(2 ** (found.bit_width - pa.types.is_signed_integer(found)))
    if pa.types.is_decimal(found) and found.scale == 0:
        return int(10**found.precision - 1)
    return None


def data_type_of(found: pa.DataType) -> str:
    """The type that declares an Arrow type; where none does, that type's own name."""
    own = []
    if pa.types.is_decimal(found) and found.precision <= 38:
        own = [f"decimal({found.precision},{found.scale})"]
    candidates = (*own, "string", "boolean", "date", "timestamp", "int", "bigint", "double")
    return next((each for each in candidates if is_held(each, found)), str(found))


def _is_declarable(data_type: str) -> bool:
    return data_type in ARROW_TYPES or data_type.startswith("decimal(")


def arrow_type(data_type: str) -> pa.DataType:
    """The Arrow type of a declared type."""
    return ARROW_TYPES.get(data_type) or pa.decimal128(*_digits(data_type))


def _digits(data_type: str) -> tuple[int, int]:
    precision, scale = map(int, re.findall(r"\d+", data_type))
    return precision, scale


def _schema(table: SourceTable) -> pa.Schema:
    columns = [(column.name, arrow_type(column.data_type)) for column in table.columns]
    return pa.schema([*columns, ("_rescued", pa.string())])


def transcribed_batch(batch: pa.RecordBatch, table: SourceTable) -> pa.RecordBatch:
    """The declared columns and `_rescued` of the rows of a Parquet file.

    Raises:
        pa.ArrowException: A value cannot be cast or told as text.
    """
    schema = _schema(table)
    names = batch.schema.names
    places = places_of(names, table)
    columns = [
        batch.column(places[name]).cast(schema.field(name).type)
        if name in places
        else pa.nulls(batch.num_rows, schema.field(name).type)
        for name in (column.name for column in table.columns)
    ]
    texts = {
        name: _texts(batch.column(place))
        for place, name in enumerate(names)
        if place not in places.values()
    }
    rescued = [
        _as_json({name: of_column[row] for name, of_column in texts.items()})
        for row in range(batch.num_rows)
    ]
    return pa.record_batch([*columns, pa.array(rescued, pa.string())], schema=schema)


def _texts(column: pa.Array) -> list[Any]:
    """A column's values as text: JSON of what is nested, hexadecimal digits of bytes.

    What Python has no value for, a date of the year 20000 in a list, is told as Arrow prints it.
    """
    try:
        return list(column.cast(pa.string()).to_pylist())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    try:
        return [None if value is None else _text(value) for value in column.to_pylist()]
    except (ValueError, OverflowError):
        whole = {"window": 10**9, "container_window": 10**9, "skip_new_lines": True}
        return [
            column[row : row + 1].to_string(**whole) if column[row].is_valid else None
            for row in range(len(column))
        ]


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return json.dumps(
        value,
        ensure_ascii=False,
        default=lambda one: one.hex() if isinstance(one, bytes) else str(one),
    )


def write_transcribed(batches: Iterable[pa.RecordBatch], table: SourceTable, path: Path) -> None:
    """Writes rows as `transcribed_batch` has them; they need not fit into memory."""
    with pq.ParquetWriter(path, _schema(table), compression="zstd") as writer:
        waiting: list[pa.RecordBatch] = []
        size = 0
        for batch in batches:
            waiting.append(transcribed_batch(batch, table))
            size += waiting[-1].nbytes
            if size > _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting))
                waiting, size = [], 0
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting))
