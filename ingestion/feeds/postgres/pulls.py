"""Tables of PostgreSQL databases, pulled into files for the gate.

    schema.name --one snapshot--> inbox/<source>.<table>.pulled/<pull>.parquet
         └ keys and digests <--> checkpoints/<source>.<table>.pulled/pulled.sqlite

A pull reads keys and digests of rows, of all or of those that may have changed, and then only the
rows of which the digest is not the one that was pulled last.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.postgres import types as postgres_types

from ingestion.declaration import SourceTable
from ingestion.drift import arrow_type
from ingestion.faults import LoadError
from ingestion.feeds.postgres.declared import Postgres, pulled_part
from ingestion.gate import MAX_LINE_BYTES, delivered_name
from ingestion.home import Home

CONNINFO_KEYS: Final = (
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "sslmode",
    "sslrootcert",
    "connect_timeout",
    "application_name",
)
# How long a connection, a lock and a statement (or the next rows of one) may take, in seconds.
CONNECT_SECONDS: Final = 10
LOCK_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 300
_GRACE_SECONDS: Final = 30
# A dead connection is noticed after half a minute.
_KEEPALIVE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
# Texts of values, of which digests are made, hang on these. Names in expressions are those of
# PostgreSQL itself, whatever others have put into a schema; all else is written with its schema.
_SESSION: Final = {
    "search_path": "",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "cursor_tuple_fraction": "1",
}
# A transaction is seen when it has ended, with the time at which it began. What is seen within
# this time of its beginning needs no comparison.
OVERLAP_MINUTES: Final = 5
# Of the fewest rows of which a share is told; of less, one would be too many.
_MIN_ROWS_OF_SHARE: Final = 20
_SCAN_ROWS: Final = 2_000
# The most rows and bytes, as PostgreSQL writes them as text, that are held at once.
_BATCH_ROWS: Final = 5_000
_BATCH_BYTES: Final = 8 * 1024**2
# A file is followed by the next when it expands to this: a quarter of what the gate lets in.
_FILE_BYTES: Final = 1024**3
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
_STATE = """
create table if not exists rows (key text primary key, digest blob not null) without rowid;
create table if not exists seen (
    key text primary key, digest blob not null, num_bytes integer not null
) without rowid;
create table if not exists facts (name text primary key, value) without rowid;
"""
_UPSERTS = """
from seen left join rows using (key) where seen.digest is not rows.digest
"""
_DELETES = """
from rows where not exists (select 1 from seen where seen.key = rows.key)
"""
_FILE = re.compile(r"([0-9]{1,18})(?:-[0-9]+)?\.parquet")
# Classes of SQLSTATE: of errors that quote a value, and of those that a statement deserves.
_DATA_EXCEPTION: Final = "22"
_WRONG_STATEMENT: Final = "42"


class PullError(LoadError):
    """A table cannot be pulled, or it is not to be pulled as it is."""


@dataclass(frozen=True)
class Pulled:
    """What is known of a pulled table.

    Attributes:
        full_name: `<source>.<table>`.
        pull_id: The last pull that brought something; 0 if none has.
        num_rows: The rows held, as they were pulled last.
        compared_at: When all rows were last compared, UTC; None if never.
        stopped: Why nothing of it is pulled until somebody has looked; None if it goes on.
    """

    full_name: str
    pull_id: int
    num_rows: int
    compared_at: datetime | None
    stopped: str | None


class Pulls:
    """Pulls declared tables of PostgreSQL databases; one at a time, like all ingestion.

    Args:
        home: Where the inbox and the states are.
        tables: The declared tables; those without `postgres` or without a connection are left out.
        conninfos: Of each source its connection, as libpq writes it, with `CONNINFO_KEYS` only.
        at_least: The highest `_pull_id` that bronze has.

    Raises:
        PullError: A connection is written wrongly, or of a source without pulled tables.
    """

    def __init__(
        self,
        home: Home,
        tables: Iterable[SourceTable],
        conninfos: Mapping[str, str],
        at_least: int = 0,
    ) -> None:
        self._home = home
        self._at_least = at_least
        declared = [table for table in tables if "postgres" in table.feeds]
        self._tables = {
            source: [table for table in declared if table.source == source] for source in conninfos
        }
        for source, tables_of_source in self._tables.items():
            if not tables_of_source:
                known = ", ".join(sorted({table.source for table in declared})) or "none"
                raise PullError(
                    f"{_variable(source)}: no table of {source} is declared with "
                    f"landing.postgres; sources that have some: {known}"
                )
        self._connections = {
            source: _connection_of(source, conninfo) for source, conninfo in conninfos.items()
        }

    def pull(self, but: Collection[str] = ()) -> dict[str, str]:
        """Pulls all tables: of each in which something has changed, a file comes into the inbox.

        The tables of one database are read in one snapshot. A table that fails leaves no file and
        no trace, and holds up no other one.

        Args:
            but: The folders (`SourceTable.folder` of the pulled part) of tables to leave out.

        Returns:
            The tables that failed, by folder, each with cause and cure in a line.
        """
        pull = _Pull(self._next_id(), _now())
        faults: dict[str, str] = {}
        for source, tables in self._tables.items():
            due = [_Table(table, self._home) for table in tables]
            due = [table for table in due if table.folder not in but]
            if due:
                faults |= self._pull_source(source, due, pull)
        return faults

    def accept(self, full_name: str) -> str:
        """Lets the next comparison of a stopped table delete what it would.

        Returns:
            What comes of it, in a line.

        Raises:
            PullError: There is no such table, it is not stopped, or it is being pulled.
        """
        table = next((table for table in self._all() if table.name == full_name), None)
        if table is None:
            known = ", ".join(table.name for table in self._all()) or "none"
            raise PullError(f"{full_name} is no table that is pulled. Known: {known}")
        with _explained(table), _State.opened(table) as state:
            stopped = state.fact("stopped")
            if stopped is None:
                raise PullError(f"{full_name} is not stopped; there is nothing to accept.")
            state.set_fact("accepted", 1)
            state.commit()
        return f"{full_name}: accepted, the next pull deletes them ({stopped})."

    def describe(self) -> list[Pulled]:
        """What is known of each table, without a question to a database."""
        return [_described(table) for table in self._all()]

    def _all(self) -> list[_Table]:
        tables = [table for tables in self._tables.values() for table in tables]
        return [_Table(table, self._home) for table in tables]

    def _next_id(self) -> int:
        """A number above all others, also where a state has been lost."""
        known = [self._at_least]
        for table in self._all():
            try:
                with _explained(table), _State.looked_at(table) as state:
                    known += _ids_of_files(table) if state is None else [state.fact("pull_id") or 0]
            except PullError:  # told when its turn comes
                known += _ids_of_files(table)
        return max(known) + 1

    def _pull_source(self, source: str, tables: list[_Table], pull: _Pull) -> dict[str, str]:
        faults: dict[str, str] = {}
        waiting = list(tables)
        try:
            with (
                closing(_Connection.connect(**self._connections[source])) as connection,
                _snapshot(connection),
            ):
                while waiting:
                    table = waiting[0]
                    try:
                        with _explained(table), connection.transaction():
                            _pull_table(connection, table, pull)
                    except PullError as error:
                        if connection.closed and isinstance(error.__cause__, psycopg.Error):
                            raise error.__cause__ from None
                        faults[table.folder] = str(error)
                    waiting.pop(0)
        except psycopg.Error as error:
            fault = (
                f"{source}: the database cannot be asked: {_line(error)}. Start it, or correct "
                f"{_variable(source)}; the next pull goes on"
            )
            faults |= dict.fromkeys((table.folder for table in waiting), fault)
        return faults


class _Pull(NamedTuple):
    """A pull's number and moment, UTC."""

    id: int
    at: datetime


class _Table:
    """A table that is pulled, and where its things stand."""

    def __init__(self, table: SourceTable, home: Home) -> None:
        self.spec: Postgres = table.feeds["postgres"]
        self.columns = table.columns
        self.name = table.full_name
        self.folder = pulled_part(table).folder
        self.inbox = home.inbox / self.folder
        self.landing = home.landing / self.folder
        self.state = home.checkpoints / self.folder / "pulled.sqlite"
        self.in_database = ".".join(self.spec.table)
        spec = self.spec
        self.shape = repr((spec.table, spec.key, spec.changed_at, spec.columns, table.columns))


class _State:
    """What was pulled last of a table: keys, digests and a few facts; one transaction at a time."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    @contextmanager
    def opened(cls, table: _Table) -> Iterator[_State]:
        """Opens the state for writing; what is not committed is as if it had never been."""
        table.state.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(table.state, isolation_level=None, timeout=10)) as database:
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            database.execute("pragma secure_delete = on")  # a key may tell of a person
            database.executescript(_STATE)
            database.execute("begin immediate")
            yield cls(database)

    @classmethod
    @contextmanager
    def looked_at(cls, table: _Table) -> Iterator[_State | None]:
        """Opens the state for reading, also while a pull goes on; None if there is none yet."""
        if not table.state.exists():
            yield None
            return
        uri = f"{table.state.as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True)) as database:
            yield cls(database)

    def commit(self) -> None:
        self._database.execute("commit")
        self._database.execute("begin immediate")

    def fact(self, name: str) -> Any:
        row = self._database.execute("select value from facts where name = ?", (name,)).fetchone()
        return row and row[0]

    def set_fact(self, name: str, value: str | float | None) -> None:
        if value is None:
            self._database.execute("delete from facts where name = ?", (name,))
        elif value != self.fact(name):
            self._database.execute("insert or replace into facts values (?, ?)", (name, value))

    def count(self, what: str) -> int:
        return cast(int, self._database.execute(f"select count(*) {what}").fetchone()[0])

    def see(self, rows: Iterable[tuple[str, bytes, int]]) -> None:
        self._database.execute("delete from seen")
        self._database.executemany("insert into seen values (?, ?, ?)", rows)

    def upserts(self) -> Iterator[tuple[str, int]]:
        """Keys of changed rows and the bytes of their text."""
        return self._database.execute(f"select key, num_bytes {_UPSERTS}")

    def deletes(self) -> Iterator[tuple[str, int]]:
        """Keys of deleted rows; a deleted row is nothing but its key."""
        return self._database.execute(f"select key, length(key) {_DELETES}")

    def hold_what_was_seen(self, *, is_all: bool) -> None:
        if is_all:
            self._database.execute(f"delete {_DELETES}")
        self._database.execute(f"insert or replace into rows select key, seen.digest {_UPSERTS}")
        self._database.execute("delete from seen")

    def forget_digests(self) -> None:
        self._database.execute("update rows set digest = x''")


class _Reader:
    """The SQL of a table, whose columns it looks at first.

    Raises:
        PullError: The table lacks a column, or one is of a type that the declared one does not hold
            as it is.
    """

    def __init__(self, connection: psycopg.Connection, table: _Table) -> None:
        self._connection = connection
        self.table = table
        self._spec = table.spec
        self._types = self._types_of_columns()
        expressions = dict(self._spec.columns)
        self._expressions = {
            # Each statement has parameters, so that the sign of one is doubled.
            column.name: sql.SQL(f"({expressions[column.name].replace('%', '%%')})")
            if column.name in expressions
            else sql.Identifier(column.name)
            for column in table.columns
        }
        self._from_table = sql.SQL("from {}").format(sql.Identifier(*self._spec.table))
        self._check_columns(expressions)
        self._check_types()

    def watermark(self) -> str | None:
        """The last change in this snapshot, as text; times of the future do not count."""
        if self._spec.changed_at is None:
            return None
        last: sql.Composable = sql.SQL("last")
        if self._is_time:
            last = sql.SQL("least(last, now()::{})").format(self._type(self._spec.changed_at))
        query = sql.SQL(
            "select ({last})::text from (select max({changed_at}) as last {source}) as latest "
            "where last is not null"
        ).format(
            last=last, changed_at=sql.Identifier(self._spec.changed_at), source=self._from_table
        )
        rows = self._rows(query)
        return rows[0][0] if rows else None

    def keys_and_digests(self, since: str | None) -> Generator[tuple[str, bytes, int], None, None]:
        """Of all rows, or of those changed since, the key, the digest and the bytes as text.

        The order makes no difference but for the speed with which they are written down.
        """
        condition: sql.Composable = sql.SQL("")
        parameters: list[Any] = []
        if since is not None and self._spec.changed_at is not None:
            overlap = f" - interval '{OVERLAP_MINUTES} minutes'" if self._is_time else ""
            condition = sql.SQL("where {} >= %s::{}{}").format(
                sql.Identifier(self._spec.changed_at),
                self._type(self._spec.changed_at),
                sql.SQL(overlap),
            )
            parameters.append(since)
        # With an offset the inner query stays one, and a row's text is worked out once.
        query = sql.SQL(
            "select key, sha256(convert_to(line, 'UTF8')), octet_length(line) "
            "from (select {key} as key, row({columns})::text as line {source} {condition} offset 0)"
            ' as scanned order by key collate "C"'
        ).format(
            key=self._key,
            columns=sql.SQL(", ").join(self._expressions.values()),
            source=self._from_table,
            condition=condition,
        )
        with self._connection.cursor(name="scanned") as cursor:
            cursor.itersize = _SCAN_ROWS
            cursor.execute(query, parameters)
            for key, digest, num_bytes in cursor:
                if key is None:
                    raise PullError(
                        f"{self.table.name}: {self.table.in_database} has a row without "
                        f"{' or '.join(self._spec.key)}; name the primary key in postgres.key"
                    )
                if num_bytes > MAX_LINE_BYTES:
                    raise PullError(
                        f"{self.table.name}: a row of {self.table.in_database} has {num_bytes} "
                        f"bytes; at most {MAX_LINE_BYTES} are taken in. Shorten it there, or in "
                        "postgres.columns"
                    )
                yield key, digest, num_bytes

    def rows_of(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """The key and the columns of these rows, as `_array` takes them."""
        query = sql.SQL("select {key}, {columns} {source} where ({names}) in ({keys})").format(
            key=self._key,
            columns=self._columns_as_sent(self._expressions),
            source=self._from_table,
            names=sql.SQL(", ").join(map(sql.Identifier, self._spec.key)),
            keys=self._given_keys,
        )
        rows = self._rows(query, self._parts_of(keys))
        if len(rows) != len(keys):
            raise PullError(
                f"{self.table.name}: {len(rows)} rows of {self.table.in_database} have "
                f"{len(keys)} keys; name the primary key in postgres.key"
            )
        return rows

    def deleted_rows_of(self, keys: Sequence[str]) -> list[tuple[Any, ...]]:
        """The same of rows that are no more: the columns that the key is made of, and nulls."""
        of_the_key = {
            name: expression
            for name, expression in self._expressions.items()
            if name in self._spec.key and isinstance(expression, sql.Identifier)
        }
        query = sql.SQL("select {key}, {columns} from ({keys}) as deleted").format(
            key=self._key, columns=self._columns_as_sent(of_the_key), keys=self._given_keys
        )
        return self._rows(query, self._parts_of(keys))

    @property
    def _key(self) -> sql.Composable:
        """A key as text: of one column its own, of several a JSON array of theirs."""
        names = [sql.SQL("{}::text").format(sql.Identifier(name)) for name in self._spec.key]
        if len(names) == 1:
            return names[0]
        return sql.SQL(
            "case when num_nulls({names}) = 0 then json_build_array({names})::text end"
        ).format(names=sql.SQL(", ").join(names))

    def _parts_of(self, keys: Sequence[str]) -> list[list[str]]:
        """Of each column of the key its texts."""
        if len(self._spec.key) == 1:
            return [list(keys)]
        return [list(parts) for parts in zip(*map(json.loads, keys), strict=True)]

    @property
    def _given_keys(self) -> sql.Composable:
        """Keys that are given as one array of texts a column, each of its column's type."""
        given = [sql.Identifier(f"given {index}") for index, _ in enumerate(self._spec.key)]
        return sql.SQL("select {} from unnest({}) as given ({})").format(
            sql.SQL(", ").join(
                sql.SQL("{}::{} as {}").format(text, self._type(name), sql.Identifier(name))
                for text, name in zip(given, self._spec.key, strict=True)
            ),
            sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(given)),
            sql.SQL(", ").join(given),
        )

    def _columns_as_sent(self, expressions: Mapping[str, sql.Composable]) -> sql.Composable:
        return sql.SQL(", ").join(
            _AS_SENT[_family(column.data_type)].format(expressions[column.name])
            if column.name in expressions
            else sql.SQL("null")
            for column in self.table.columns
        )

    def _type(self, column: str) -> sql.SQL:
        return sql.SQL(self._types[column].replace("%", "%%"))

    @property
    def _is_time(self) -> bool:
        changed_at = self._spec.changed_at
        return changed_at is not None and self._types[changed_at].startswith(("timestamp", "date"))

    def _types_of_columns(self) -> dict[str, str]:
        return dict(
            cast(
                list[tuple[str, str]],
                self._rows(
                    sql.SQL(
                        "select attname::text, format_type(atttypid, atttypmod) "
                        "from pg_attribute as a join pg_class as c on c.oid = a.attrelid "
                        "join pg_namespace as n on n.oid = c.relnamespace "
                        "where nspname = %s and relname = %s and attnum > 0 and not attisdropped"
                    ),
                    self._spec.table,
                ),
            )
        )

    def _check_columns(self, expressions: Mapping[str, str]) -> None:
        if not self._types:
            raise PullError(
                f"{self.table.name}: the database has no table {self.table.in_database}; "
                "correct postgres.table"
            )
        needed = [*self._spec.key, *filter(None, [self._spec.changed_at])]
        needed += [name for name in self._expressions if name not in expressions]
        if missing := [name for name in needed if name not in self._types]:
            raise PullError(
                f"{self.table.name}: {self.table.in_database} has no column "
                f"{', '.join(missing)}; correct postgres, where columns can say what they are"
            )

    def _check_types(self) -> None:
        columns = sql.SQL(", ").join(self._expressions.values())
        query = sql.SQL("select {} {} limit 0").format(columns, self._from_table)
        cursor = self._connection.execute(query, [])
        for column, found in zip(self.table.columns, cursor.description or (), strict=True):
            family = _family(column.data_type)
            fitting = _FITTING.get(family)
            if fitting and found.type_code not in {postgres_types[name].oid for name in fitting}:
                raise PullError(
                    f"{self.table.name}: column {column.name} is {found.type_display}, which "
                    f"{column.data_type} does not hold as it is; say in postgres.columns how it "
                    f"becomes {' or '.join(fitting)}"
                )

    def _rows(
        self, query: sql.SQL | sql.Composed, parameters: Sequence[Any] = ()
    ) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, parameters).fetchall()


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
_SENT_AS_NUMBER: Final = {"date": pa.int32(), "timestamp": pa.int64()}


def _pull_table(connection: psycopg.Connection, table: _Table, pull: _Pull) -> None:
    """Pulls one table in the connection's snapshot.

    The state has the file only when the inbox has it: a kill in between pulls the same rows again.
    The number is given away before, so that it is then a higher one.
    """
    for unfinished in table.inbox.glob(".[0-9]*.parquet"):  # of a pull that was killed
        unfinished.unlink()
    reader = _Reader(connection, table)
    with _State.opened(table) as state:
        if state.fact("declared") != (declared := table.shape):
            state.forget_digests()
            state.set_fact("compared_at", None)
            state.set_fact("declared", declared)
        since = None if _compares(table, state, pull.at) else state.fact("watermark")
        watermark = reader.watermark()
        try:
            with closing(reader.keys_and_digests(since)) as rows:
                state.see(rows)
        except sqlite3.IntegrityError:
            raise PullError(
                f"{table.name}: several rows of {table.in_database} have one key; name the "
                "primary key in postgres.key"
            ) from None
        num_deletes = 0
        if since is None:
            num_deletes = state.count(_DELETES)
            _check_deletes(table, state, num_deletes)
        if num_deletes or state.count(_UPSERTS):
            state.set_fact("pull_id", pull.id)
            state.commit()
            _write(table, pull.id, _row_groups(reader, state, pull, with_deletes=since is None))
        state.hold_what_was_seen(is_all=since is None)
        state.set_fact("watermark", watermark)
        if since is None:
            state.set_fact("compared_at", pull.at.timestamp())
            state.set_fact("stopped", None)
            state.set_fact("accepted", None)
        state.commit()


def _compares(table: _Table, state: _State, now: datetime) -> bool:
    pace, compared_at = table.spec.compare_every, state.fact("compared_at")
    if pace is None or compared_at is None:
        return True
    # A clock that has been set back does not put a comparison off.
    return not 0 <= now.timestamp() - compared_at < pace.total_seconds()


def _check_deletes(table: _Table, state: _State, num_deletes: int) -> None:
    """Stops where a source has emptied, until somebody has looked."""
    num_rows = state.count("from rows")
    is_share = num_rows >= _MIN_ROWS_OF_SHARE
    is_too_much = num_deletes > table.spec.max_deleted_share * num_rows
    if not num_deletes or not (num_deletes == num_rows or (is_share and is_too_much)):
        return
    if state.fact("accepted"):
        return
    stopped = f"{num_deletes} of {num_rows} rows are gone from {table.in_database}"
    state.set_fact("stopped", stopped)
    state.commit()
    raise PullError(
        f"{table.name}: {stopped}; nothing of it is pulled. Put them back, or, if they are to be "
        f"deleted here too: lakehouse accept {table.name}"
    )


def _row_groups(
    reader: _Reader, state: _State, pull: _Pull, *, with_deletes: bool
) -> Iterator[pa.Table]:
    """The rows that a pull brings, in pieces that are small enough to be held."""
    table = reader.table
    kinds = [("upsert", state.upserts(), reader.rows_of)]
    if with_deletes:
        kinds.append(("delete", state.deletes(), reader.deleted_rows_of))
    for op, keys, rows_of in kinds:
        for batch in _batches(keys):
            key_column, *columns = zip(*rows_of(batch), strict=True)
            arrays = {
                column.name: _array(table, column.name, column.data_type, values)
                for column, values in zip(table.columns, columns, strict=True)
            }
            size = len(batch)
            arrays["_pull_key"] = pa.array(key_column, pa.string())
            arrays["_pull_id"] = pa.repeat(pa.scalar(pull.id, pa.int64()), size)
            arrays["_pulled_at"] = pa.repeat(pa.scalar(pull.at, arrow_type("timestamp")), size)
            arrays["_op"] = pa.repeat(pa.scalar(op, pa.string()), size)
            yield pa.table(arrays)


def _batches(keys: Iterator[tuple[str, int]]) -> Iterator[list[str]]:
    batch: list[str] = []
    num_bytes = 0
    for key, size in keys:
        if batch and (len(batch) == _BATCH_ROWS or num_bytes + size > _BATCH_BYTES):
            yield batch
            batch, num_bytes = [], 0
        batch.append(key)
        num_bytes += size
    if batch:
        yield batch


def _array(table: _Table, name: str, data_type: str, values: Sequence[Any]) -> pa.Array:
    family = _family(data_type)
    try:
        if family in _SENT_AS_NUMBER:
            return pa.array(values, _SENT_AS_NUMBER[family]).cast(arrow_type(data_type))
        return pa.array(values, arrow_type(data_type))
    except (pa.ArrowInvalid, OverflowError):
        raise PullError(
            f"{table.name}: column {name} has a value that {data_type} does not hold; declare a "
            "wider type, or say in postgres.columns what becomes of such values"
        ) from None


def _family(data_type: str) -> str:
    return data_type.partition("(")[0]


def _write(table: _Table, pull_id: int, row_groups: Iterator[pa.Table]) -> None:
    """Writes a pull into files that get their names when all are whole.

    Mostly it is one file; what the gate would refuse as too large is several.
    """
    table.inbox.mkdir(parents=True, exist_ok=True)
    files: dict[Path, Path] = {}
    writer: pq.ParquetWriter | None = None
    num_bytes = 0
    try:
        for rows in row_groups:
            if writer is None or num_bytes >= _FILE_BYTES:
                if writer is not None:
                    writer.close()
                name = f"{pull_id}-{len(files) + 1}.parquet" if files else f"{pull_id}.parquet"
                hidden = table.inbox / f".{name}"
                files[hidden] = table.inbox / name
                writer, num_bytes = pq.ParquetWriter(hidden, rows.schema, compression="zstd"), 0
            writer.write_table(rows)
            num_bytes += rows.nbytes
        if writer is not None:
            writer.close()
        for hidden, path in files.items():
            _sync(hidden)
            hidden.rename(path)
        _sync(table.inbox)
    finally:
        if writer is not None:
            writer.close()
        for hidden in files:
            hidden.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Has the disk hold it before the state says so."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _ids_of_files(table: _Table) -> list[int]:
    """The numbers of the pulls that wait in the inbox or stand in landing."""
    names = [path.name for path in table.inbox.glob("*.parquet")]
    for path in table.landing.rglob("*.parquet"):
        with suppress(ValueError):  # whatever else lies there
            names.append(delivered_name(str(path.relative_to(table.landing))))
    return [int(match[1]) for name in names if (match := _FILE.fullmatch(name))]


def _described(table: _Table) -> Pulled:
    try:
        with _explained(table), _State.looked_at(table) as state:
            if state is None:
                return Pulled(table.name, 0, 0, None, None)
            at = state.fact("compared_at")
            return Pulled(
                full_name=table.name,
                pull_id=state.fact("pull_id") or 0,
                num_rows=state.count("from rows"),
                compared_at=None if at is None else datetime.fromtimestamp(at, UTC),
                stopped=state.fact("stopped"),
            )
    except PullError as error:
        return Pulled(table.name, 0, 0, None, str(error))


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that does not wait for ever for a server that can no longer end a statement."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        seconds = timeout or STATEMENT_SECONDS + _GRACE_SECONDS
        try:
            return super().wait(gen, interval, seconds)
        except psycopg.errors._WaitTimeout:
            self.close()
            raise psycopg.OperationalError(f"it has not answered for {seconds} s") from None


def _connection_of(source: str, conninfo: str) -> dict[str, Any]:
    """What libpq needs; nothing that is written there is ever told."""
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.Error:
        given = None
    if given is None or not set(given) <= set(CONNINFO_KEYS):
        raise PullError(
            f"{_variable(source)} is no connection as libpq writes it, or has another key than "
            f"these: {', '.join(CONNINFO_KEYS)}. For example: host=db.example dbname=shop "
            "user=lakehouse_reader passfile=/etc/lakehouse/pgpass"
        )
    defaults = {"connect_timeout": CONNECT_SECONDS, "application_name": "lakehouse"}
    return {
        **defaults,
        **{key: value for key, value in given.items() if value is not None},
        **_KEEPALIVE,
        "client_encoding": "utf8",
        "autocommit": True,
        "prepare_threshold": None,  # a plan is made for the keys that are asked for
    }


@contextmanager
def _snapshot(connection: psycopg.Connection) -> Iterator[None]:
    """One look at the whole database, which can change nothing."""
    settings = {
        **_SESSION,
        "statement_timeout": f"{STATEMENT_SECONDS}s",
        "lock_timeout": f"{LOCK_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{2 * STATEMENT_SECONDS}s",
    }
    for name, value in settings.items():
        connection.execute("select set_config(%s, %s, false)", (name, value))
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    connection.read_only = True
    with connection.transaction():
        yield


@contextmanager
def _explained(table: _Table) -> Iterator[None]:
    """Makes cause and cure of what can happen to one table."""
    try:
        yield
    except psycopg.Error as error:
        raise PullError(f"{table.name}: {_told(error, table)}") from error
    except sqlite3.Error as error:
        raise PullError(
            f"{table.name}: {table.state}: {error}. If it is locked, wait for the pull that goes "
            "on; if it is damaged, remove it, and all rows are pulled again"
        ) from error
    except OSError as error:
        raise PullError(
            f"{table.name}: {error.filename or table.inbox}: {error.strerror or error}. "
            "Give the user that runs lakehouse the rights to write it, and free space"
        ) from error


def _told(error: psycopg.Error, table: _Table) -> str:
    state = error.sqlstate or ""
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return (
            f"{table.in_database} has been locked by another for {LOCK_SECONDS} s; the next pull "
            "goes on when it is free"
        )
    if isinstance(error, psycopg.errors.QueryCanceled):
        return (
            f"the database took more than {STATEMENT_SECONDS} s for a statement; see what it is "
            f"busy with, and whether {table.in_database} has indexes on its key"
            + (f" and on {table.spec.changed_at}" if table.spec.changed_at else "")
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"{_line(error)}. Grant it, see deploy/postgres/reader.sql"
    if state.startswith(_DATA_EXCEPTION):
        return (
            f"a value of {table.in_database} is none that its column or expression can be "
            f"({type(error).__name__}); say in postgres.columns what becomes of such values"
        )
    if state.startswith(_WRONG_STATEMENT):
        return f"{_line(error)}. Correct postgres in its declaration"
    return f"the database failed: {_line(error)}. The next pull tries again"


def _line(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split())[:500]


def _variable(source: str) -> str:
    return f"LAKEHOUSE_POSTGRES_{source.upper()}"


def _now() -> datetime:
    return datetime.now(UTC)
