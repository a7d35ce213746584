"""Tables of PostgreSQL databases, pulled into files for the gate, step by step.

    schema.name --one snapshot--> inbox/<source>.<table>.pulled/<pull>.parquet
         └ keys and digests <--> checkpoints/<source>.<table>.pulled/pulled.sqlite

A pull reads keys and digests of rows, of all or of those that may have changed, and then only the
rows of which the digest is not the one that was pulled last. Between two steps its snapshot stays
open, and others have their turn; what a step has delivered is held as pulled. All else of a table,
its deletes among it, counts when the table has been seen whole.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.declaration import SourceTable
from ingestion.drift import arrow_type
from ingestion.feeds.postgres.connection import (
    PullError,
    connection_of,
    line_of,
    setting_of,
    snapshot,
    told,
)
from ingestion.feeds.postgres.declared import Postgres, pulled_part
from ingestion.feeds.postgres.reader import Reader
from ingestion.feeds.postgres.state import Change, State
from ingestion.gate import delivered_name
from ingestion.home import Home
from ingestion.stored import below

# A step takes some seconds: so many bytes, as PostgreSQL writes rows as text, are seen or brought.
# For what a row costs by itself, it has no less than this.
_STEP_BYTES: Final = 64 * 1024**2
_ROW_BYTES: Final = 320
# Of the fewest rows of which a share is told; of less, one would be too many.
_MIN_ROWS_OF_SHARE: Final = 20
_FILE = re.compile(r"([0-9]{1,18})(?:-[0-9]+)?\.parquet")


class Pulls:
    """Pulls declared tables of PostgreSQL databases; one at a time, like all ingestion.

    Args:
        home: Where the inbox and the states are.
        tables: The declared tables; those without `postgres` or without a connection are left out.
        conninfos: Of each source its connection, as libpq writes it.
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
        self._at_least = at_least
        declared = [_Table(table, home) for table in tables if "postgres" in table.feeds]
        self._tables = {
            source: [table for table in declared if table.source == source] for source in conninfos
        }
        for source, tables_of_source in self._tables.items():
            if not tables_of_source:
                known = ", ".join(sorted({table.source for table in declared})) or "none"
                raise PullError(
                    f"{setting_of(source)}: no table of {source} is declared with "
                    f"landing.postgres; sources that have some: {known}"
                )
        self._connections = {
            source: connection_of(source, conninfo) for source, conninfo in conninfos.items()
        }
        self._under_way: dict[str, tuple[_Pull, Generator[int, None, None]]] = {}
        self._num_lost: Counter[str] = Counter()

    @property
    def goes_on(self) -> bool:
        """Whether a pull is under way, so that the next step goes on with it."""
        return bool(self._under_way)

    def pull(self, but: Collection[str] = ()) -> dict[str, str]:
        """Takes a step of each database's pull; what is small is pulled whole with the first.

        All tables of a database are read in one snapshot. Of each in which something has changed,
        files come into the inbox. A table that fails holds up no other one.

        Args:
            but: The folders (`SourceTable.folder` of the pulled part) of tables to leave out; one
                that is under way is begun anew when it takes part again.

        Returns:
            The tables that failed, by folder, each with cause and cure in a line.
        """
        faults: dict[str, str] = {}
        for source in self._tables:
            resting = self._under_way.pop(source, None)
            pull, steps = resting or self._begin(source)
            pull.but, pull.faults = but, faults
            # Where snapshots do not last from step to step, fewer steps come to an end.
            left = _STEP_BYTES << self._num_lost[source]
            for cost in steps:
                left -= cost
                if left <= 0:
                    self._under_way[source] = pull, steps
                    break
            else:
                if not pull.is_lost:
                    self._num_lost[source] = 0
                elif resting:
                    self._num_lost[source] += 1
        return faults

    def accept(self, full_name: str) -> list[str]:
        """Lets the next comparison of a stopped table delete what it would.

        Returns:
            What comes of it, in a line; nothing if it is no table that is pulled, or not stopped.

        Raises:
            PullError: Its state cannot be written.
        """
        for table in self._all():
            if table.name == full_name and table.state.exists():
                with _explained(table), State.opened(table.state) as state:
                    if stopped := state.fact("stopped"):
                        state.note(accepted=1)
                        return [f"{full_name}: accepted, the next pull deletes them ({stopped})."]
        return []

    def describe(self) -> list[dict[str, Any]]:
        """What is known of each table, without a question to a database.

        Returns:
            The table, the number of the last pull that brought something (0: none), the rows held,
            when all were last compared (UTC; None: never), and what has stopped it, if anything.
        """
        return [_described(table) for table in self._all()]

    def _all(self) -> list[_Table]:
        return list(chain.from_iterable(self._tables.values()))

    def _begin(self, source: str) -> tuple[_Pull, Generator[int, None, None]]:
        """A number above all others, also where a state has been lost, and the pull's steps."""
        known = [self._at_least]
        for table in self._all():
            try:
                with _explained(table), State.looked_at(table.state) as state:
                    known += _ids_of_files(table) if state is None else [state.fact("pull_id") or 0]
            except PullError:  # told when its turn comes
                known += _ids_of_files(table)
        pull = _Pull(max(known) + 1, _now())
        steps = _pull_source(source, self._connections[source], self._tables[source], pull)
        return pull, steps


@dataclass
class _Pull:
    """The pull of a database, with what is said to and by its present step.

    Attributes:
        id: Its number.
        at: Its moment, UTC.
        but: The folders of the tables to leave out.
        faults: What failed, by folder.
        is_lost: Whether the database could not be asked to the end.
    """

    id: int
    at: datetime
    but: Collection[str] = ()
    faults: dict[str, str] = field(default_factory=dict)
    is_lost: bool = False


class _Table:
    """A table that is pulled, and where its things stand."""

    def __init__(self, table: SourceTable, home: Home) -> None:
        part = pulled_part(table)
        self.declared = table
        self.spec: Postgres = table.feeds["postgres"]
        self.name = table.full_name
        self.source = table.source
        self.folder = part.folder
        self.inbox = home.inbox / part.folder
        self.landing = home.landing / part.folder
        self.state = home.memory / part.folder / "pulled.sqlite"
        self.schema = pa.schema([(one.name, arrow_type(one.data_type)) for one in part.columns])
        spec = self.spec
        self.shape = repr((spec.table, spec.key, spec.changed_at, spec.columns, table.columns))


def _pull_source(
    source: str, connection_of_source: Mapping[str, Any], tables: Iterable[_Table], pull: _Pull
) -> Generator[int, None, None]:
    """Pulls all tables of a database; where it yields the cost of what it did, it may rest."""
    waiting = [table for table in tables if table.folder not in pull.but]
    if not waiting:
        return
    try:
        with snapshot(connection_of_source) as connection:
            while waiting:
                table = waiting[0]
                try:
                    with (
                        _explained(table),
                        connection.transaction(),
                        closing(_pull_table(connection, table, pull)) as steps,
                    ):
                        for cost in steps:
                            try:
                                yield cost
                            except GeneratorExit:  # nobody goes on with it
                                connection.close()
                                raise
                            if table.folder in pull.but:
                                break
                except PullError as error:
                    if connection.closed and isinstance(error.__cause__, psycopg.Error):
                        raise error.__cause__ from None
                    pull.faults[table.folder] = str(error)
                waiting = [table for table in waiting[1:] if table.folder not in pull.but]
    except psycopg.Error as error:
        pull.is_lost = True
        fault = (
            f"{source}: the database cannot be asked: {line_of(error)}. Start it, or correct "
            f"{setting_of(source)}; the next pull goes on"
        )
        pull.faults.update(dict.fromkeys((table.folder for table in waiting), fault))


def _pull_table(
    connection: psycopg.Connection, table: _Table, pull: _Pull
) -> Generator[int, None, None]:
    """Pulls one table in the connection's snapshot."""
    for unfinished in table.inbox.glob(".[0-9]*.parquet"):  # of a pull that was killed
        unfinished.unlink()
    reader = Reader(connection, table.declared)
    with State.opened(table.state) as state:
        if state.fact("declared") != table.shape:
            state.begin_anew(table.shape)
        since = None if _compares(table, state, pull.at) else state.fact("watermark")
        is_all = since is None
        watermark = reader.watermark()
        with closing(reader.keys_and_digests(since)) as scanned:
            for rows in scanned:
                state.see(rows)
                yield _cost(num_bytes for _, _, num_bytes in rows)
        changes = state.changes("upsert")
        if is_all:
            _check_deletes(table, state)
            changes = chain(changes, state.changes("delete"))
        yield from _deliver(table, reader, state, pull, changes)
        whole = {"compared_at": pull.at.timestamp(), "stopped": None, "accepted": None}
        state.note(watermark=watermark, **whole if is_all else {})


def _cost(sizes: Iterable[int]) -> int:
    return sum(max(size, _ROW_BYTES) for size in sizes)


def _compares(table: _Table, state: State, now: datetime) -> bool:
    pace, compared_at = table.spec.compare_every, state.fact("compared_at")
    if pace is None or compared_at is None:
        return True
    # A clock that has been set back does not put a comparison off.
    return not 0 <= now.timestamp() - compared_at < pace.total_seconds()


def _check_deletes(table: _Table, state: State) -> None:
    """Stops where a source has emptied, until somebody has looked."""
    num_rows, num_deletes = state.num_rows(), state.num_deletes()
    is_share = num_rows >= _MIN_ROWS_OF_SHARE
    is_too_much = num_deletes > table.spec.max_deleted_share * num_rows
    if not num_deletes or not (num_deletes == num_rows or (is_share and is_too_much)):
        return
    if state.fact("accepted"):
        return
    stopped = f"{num_deletes} of {num_rows} rows are gone from {table.spec.in_database}"
    state.note(stopped=stopped)
    raise PullError(
        f"{stopped}; nothing of it is pulled. Put them back, or, if they are to be deleted here "
        f"too: lakehouse accept {table.name}"
    )


def _deliver(
    table: _Table, reader: Reader, state: State, pull: _Pull, changes: Iterator[Change]
) -> Generator[int, None, None]:
    """Writes what has changed into files of a step each.

    Around the moment in which the inbox has a file, the state holds nothing of its rows: a kill in
    between pulls them again, or what has become of them, under a higher number.
    """
    num_files = 0
    change = next(changes, None)
    while change:
        num_files += 1
        name = f"{pull.id}.parquet" if num_files == 1 else f"{pull.id}-{num_files}.parquet"
        delivered: list[Change] = []
        cost = 0
        with _new_file(table, name) as writer:
            while change and cost < _STEP_BYTES:
                writer.write_table(_rows(table, reader, pull, change))
                delivered.append(change)
                cost += _cost(change.sizes)
                change = next(changes, None)
            state.expect(pull.id, delivered)
        state.hold(delivered)
        yield cost


def _rows(table: _Table, reader: Reader, pull: _Pull, change: Change) -> pa.Table:
    rows_of = reader.rows_of if change.op == "upsert" else reader.deleted_rows_of
    keys, *columns = rows_of(change.keys)
    told_of_all = (pull.id, pull.at, change.op)
    types = table.schema.types[-len(told_of_all) :]
    same = [
        pa.repeat(pa.scalar(value, kind), len(keys))
        for value, kind in zip(told_of_all, types, strict=True)
    ]
    return pa.Table.from_arrays([*columns, keys, *same], schema=table.schema)


@contextmanager
def _new_file(table: _Table, name: str) -> Iterator[pq.ParquetWriter]:
    """A file in the inbox that has its name when it is whole, and is nothing before."""
    table.inbox.mkdir(parents=True, exist_ok=True)
    hidden = table.inbox / f".{name}"
    try:
        with pq.ParquetWriter(hidden, table.schema, compression="zstd") as writer:
            yield writer
        _sync(hidden)
        hidden.rename(table.inbox / name)
        _sync(table.inbox)
    finally:
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
            names.append(delivered_name(below(path, table.landing)))
    return [int(match[1]) for name in names if (match := _FILE.fullmatch(name))]


def _described(table: _Table) -> dict[str, Any]:
    pull = rows = 0
    compared_at = note = None
    try:
        with _explained(table), State.looked_at(table.state) as state:
            if state:
                pull, rows = state.fact("pull_id") or 0, state.num_rows()
                compared_at, note = state.fact("compared_at"), state.fact("stopped")
    except PullError as error:
        note = str(error)
    return {
        "source": table.name,
        "pull": pull,
        "rows": rows,
        "compared_at": compared_at and datetime.fromtimestamp(compared_at, UTC),
        "note": note,
    }


@contextmanager
def _explained(table: _Table) -> Iterator[None]:
    """Makes cause and cure of what can happen to one table, in a line that names it."""
    try:
        yield
    except PullError as error:
        raise PullError(f"{table.name}: {error}") from None
    except psycopg.Error as error:
        raise PullError(f"{table.name}: {told(error, table.spec)}") from error
    except sqlite3.IntegrityError:
        raise PullError(
            f"{table.name}: several rows of {table.spec.in_database} have one key; name the "
            "primary key in postgres.key"
        ) from None
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


def _now() -> datetime:
    return datetime.now(UTC)
