"""The SQL of a pulled table: what tells of changes, and the rows themselves for Arrow."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Final

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.postgres import types as postgres_types

from ingestion.declaration import SourceTable
from ingestion.drift import arrow_type
from ingestion.feeds.postgres.connection import PullError
from ingestion.feeds.postgres.declared import Postgres
from ingestion.gate import MAX_LINE_BYTES

# A transaction is seen when it has ended, with the time at which it began. What is seen within
# this time of its beginning needs no comparison.
OVERLAP_MINUTES: Final = 5
_SCAN_ROWS: Final = 2_000
# Which types of PostgreSQL a declared type holds as they are. Any type is held by string.
_FITTING: Final = {
    "bigint": ("int2", "int4", "int8"),
    "int": ("int2", "int4"),
    "double": ("float4", "float8"),
    "boolean": ("bool",),
    "date": ("date",),
    "timestamp": ("timestamp", "timestamptz"),
    "decimal": ("int2", "int4", "int8", "numeric"),
}
# How a value is sent: whole and exact over all its range, which Python's own times would not be.
_AS_SENT: Final = {
    "string": sql.SQL("{}::text"),
    "bigint": sql.SQL("{}"),
    "int": sql.SQL("{}"),
    "double": sql.SQL("{}::double precision"),
    "boolean": sql.SQL("{}"),
    "date": sql.SQL("{} - date '1970-01-01'"),
    "timestamp": sql.SQL("(extract(epoch from {}::timestamptz) * 1000000)::bigint"),
    "decimal": sql.SQL("{}::numeric"),
}


class Reader:
    """Reads a table, whose columns it looks at first.

    Args:
        connection: In the snapshot that is read.
        table: The table.

    Raises:
        PullError: The table lacks a column, or one is of a type that the declared one does not hold
            as it is.
    """

    def __init__(self, connection: psycopg.Connection, table: SourceTable) -> None:
        self._connection = connection
        self._declared = table.columns
        self._spec: Postgres = table.feeds["postgres"]
        self._source = sql.SQL("from {}").format(sql.Identifier(*self._spec.table))
        # Each statement has parameters, so that the sign of one is doubled.
        said = {name: text.replace("%", "%%") for name, text in self._spec.columns}
        self._columns: dict[str, sql.Composable] = {
            column.name: sql.SQL(f"({said[column.name]})")
            if column.name in said
            else sql.Identifier(column.name)
            for column in table.columns
        }
        found = self._rows(
            sql.SQL(
                "select attname::text, format_type(atttypid, atttypmod) from pg_attribute "
                "where attrelid = to_regclass(format('%%I.%%I', %s::text, %s::text)) "
                "and attnum > 0 and not attisdropped"
            ),
            self._spec.table,
        )
        self._types: dict[str, str] = {name: kind.replace("%", "%%") for name, kind in found}
        self._check_columns()
        self._check_types()

    def watermark(self) -> str | None:
        """The last change in this snapshot, as text; times of the future do not count."""
        changed_at = self._spec.changed_at
        if changed_at is None:
            return None
        last = sql.SQL("max({})").format(sql.Identifier(changed_at))
        query = sql.SQL("select ({})::text {} having {} is not null").format(
            sql.SQL(f"least({{}}, now()::{self._types[changed_at]})").format(last)
            if self._is_time(changed_at)
            else last,
            self._source,
            last,
        )
        rows = self._rows(query)
        return rows[0][0] if rows else None

    def keys_and_digests(
        self, since: str | None
    ) -> Generator[list[tuple[str, bytes, int]], None, None]:
        """Of all rows, or of those changed since, the key, the digest and the bytes as text.

        They come some thousand at once, in no order.

        Raises:
            PullError: A row has no key, or is too large.
        """
        condition, parameters = sql.SQL("").format(), []
        if since is not None and (changed_at := self._spec.changed_at) is not None:
            overlap = f"- interval '{OVERLAP_MINUTES} minutes'" if self._is_time(changed_at) else ""
            condition = sql.SQL(f"where {{}} >= %s::{self._types[changed_at]} {overlap}").format(
                sql.Identifier(changed_at)
            )
            parameters = [since]
        # With an offset the inner query stays one, and a row's text is worked out once.
        query = sql.SQL(
            "select key, sha256(convert_to(line, 'UTF8')), octet_length(line) "
            "from (select {key} as key, row({columns})::text as line {source} {condition} offset 0)"
            " as scanned"
        ).format(
            key=self._key,
            columns=sql.SQL(", ").join(self._columns.values()),
            source=self._source,
            condition=condition,
        )
        with self._connection.cursor(name="scanned") as cursor:
            cursor.execute(query, parameters)
            while rows := cursor.fetchmany(_SCAN_ROWS):
                for key, _, num_bytes in rows:
                    self._check_row(key, num_bytes)
                yield rows

    def rows_of(self, keys: Sequence[str]) -> list[pa.Array]:
        """The key and the columns of these rows.

        Raises:
            PullError: A declared type does not hold a value, or a key is not one row's.
        """
        query = sql.SQL("select {key}, {columns} {source} where ({names}) in ({given})").format(
            key=self._key,
            columns=self._as_sent(self._columns),
            source=self._source,
            names=sql.SQL(", ").join(map(sql.Identifier, self._spec.key)),
            given=self._given,
        )
        rows = self._rows(query, [list(keys)])
        if len(rows) != len(keys):
            raise PullError(
                f"{len(rows)} rows of {self._spec.in_database} have {len(keys)} keys; name the "
                "primary key in postgres.key"
            )
        return self._arrays(rows)

    def deleted_rows_of(self, keys: Sequence[str]) -> list[pa.Array]:
        """The same of rows that are no more: the columns that the key is made of, and nulls."""
        of_the_key = {
            name: expression
            for name, expression in self._columns.items()
            if name in self._spec.key and isinstance(expression, sql.Identifier)
        }
        query = sql.SQL("select {key}, {columns} from ({given}) as deleted").format(
            key=self._key, columns=self._as_sent(of_the_key), given=self._given
        )
        return self._arrays(self._rows(query, [list(keys)]))

    @property
    def _key(self) -> sql.Composable:
        """A key as text: of one column its own, of several a JSON array of theirs."""
        names = [sql.SQL("{}::text").format(sql.Identifier(name)) for name in self._spec.key]
        if len(names) == 1:
            return names[0]
        return sql.SQL(
            "case when num_nulls({names}) = 0 then json_build_array({names})::text end"
        ).format(names=sql.SQL(", ").join(names))

    @property
    def _given(self) -> sql.Composable:
        """The columns of keys that are given as one array of texts."""
        names = self._spec.key
        texts = ["key"] if len(names) == 1 else [f"(key::json ->> {n})" for n in range(len(names))]
        return sql.SQL("select {} from unnest(%s::text[]) as given (key)").format(
            sql.SQL(", ").join(
                sql.SQL(f"{text}::{self._types[name]} as {{}}").format(sql.Identifier(name))
                for name, text in zip(names, texts, strict=True)
            )
        )

    def _as_sent(self, columns: Mapping[str, sql.Composable]) -> sql.Composable:
        return sql.SQL(", ").join(
            _AS_SENT[_family(column.data_type)].format(columns[column.name])
            if column.name in columns
            else sql.SQL("null")
            for column in self._declared
        )

    def _arrays(self, rows: Sequence[tuple[Any, ...]]) -> list[pa.Array]:
        keys, *columns = zip(*rows, strict=True)
        arrays = [pa.array(keys, pa.string())]
        for column, values in zip(self._declared, columns, strict=True):
            try:
                arrays.append(pa.array(values, arrow_type(column.data_type)))
            except (pa.ArrowInvalid, OverflowError):
                raise PullError(
                    f"column {column.name} has a value that {column.data_type} does not hold; "
                    "declare a wider type, or say in postgres.columns what becomes of such values"
                ) from None
        return arrays

    def _is_time(self, column: str) -> bool:
        return self._types[column].startswith(("timestamp", "date"))

    def _check_row(self, key: str | None, num_bytes: int) -> None:
        if key is None:
            raise PullError(
                f"{self._spec.in_database} has a row without {' or '.join(self._spec.key)}; name "
                "the primary key in postgres.key"
            )
        if num_bytes > MAX_LINE_BYTES:
            raise PullError(
                f"a row of {self._spec.in_database} has {num_bytes} bytes; at most "
                f"{MAX_LINE_BYTES} are taken in. Shorten it there, or in postgres.columns"
            )

    def _check_columns(self) -> None:
        where = self._spec.in_database
        if not self._types:
            raise PullError(f"the database has no table {where}; correct postgres.table")
        needed = [*self._spec.key, *filter(None, [self._spec.changed_at])]
        needed += [name for name, text in self._columns.items() if isinstance(text, sql.Identifier)]
        if missing := [name for name in needed if name not in self._types]:
            raise PullError(
                f"{where} has no column {', '.join(missing)}; correct postgres, where columns can "
                "say what they are"
            )

    def _check_types(self) -> None:
        columns = sql.SQL(", ").join(self._columns.values())
        query = sql.SQL("select {} {} limit 0").format(columns, self._source)
        found = self._connection.execute(query, []).description or ()
        for column, sent in zip(self._declared, found, strict=True):
            fitting = _FITTING.get(_family(column.data_type))
            if fitting and sent.type_code not in {postgres_types[name].oid for name in fitting}:
                raise PullError(
                    f"column {column.name} is {sent.type_display}, which {column.data_type} does "
                    "not hold as it is; say in postgres.columns how it becomes "
                    f"{' or '.join(fitting)}"
                )

    def _rows(
        self, query: sql.SQL | sql.Composed, parameters: Sequence[Any] = ()
    ) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, parameters).fetchall()


def _family(data_type: str) -> str:
    return data_type.partition("(")[0]
