"""A database that changes, and what each pull of it sees: told by plain SQL, not by the pulls."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from psycopg.rows import dict_row

from tests.support.domains import File
from tests.support.postgres import Server


class Database:
    """The tables that are pulled. While a pull may come, nobody changes them.

    Args:
        server: Where they are.
        queries: By table of the lakehouse, the query of what a pull sees.
    """

    def __init__(self, server: Server, queries: Mapping[str, str]) -> None:
        self._server = server
        self._queries = queries
        self._num_pulls = 0
        # By table, the rows that pulls have seen, and whether somebody has looked at a stop.
        self._seen: dict[str, dict[str, dict[str, Any]]] = {table: {} for table in queries}
        self._stopped: dict[str, bool] = {}

    def empty(self) -> None:
        self.change(["truncate registrations, gym_visits"])

    def change(self, statements: Iterable[str]) -> None:
        with self._server.connect() as database:
            for statement in statements:
                database.execute(statement)

    def see(self, checkpoints: Path) -> list[File]:
        """What the next pull brings: of each table that has changed the rows that have.

        It compares all rows, as it would in an hour: the lakehouse forgets when it last did so.

        Args:
            checkpoints: Of the lakehouse.
        """
        for state in checkpoints.glob("*.pulled/pulled.sqlite"):
            with closing(sqlite3.connect(state, isolation_level=None)) as facts:
                facts.execute("delete from facts where name = 'compared_at'")
        pull = self._num_pulls + 1
        files = []
        for table in self._queries:
            if changed := list(self._changed(table)):
                rows = [row | {"_pull_id": pull} for row in changed]
                content = BytesIO()
                pq.write_table(pa.Table.from_pylist(rows), content)
                files.append(File(f"{table}.pulled", f"{pull}.parquet", content.getvalue(), False))
        self._num_pulls += bool(files)
        return files

    def _changed(self, table: str) -> Iterator[dict[str, Any]]:
        with self._server.connect() as database, database.cursor(row_factory=dict_row) as cursor:
            rows = {row["_pull_key"]: row for row in cursor.execute(self._queries[table])}
        before = self._seen[table]
        gone = sorted(before.keys() - rows.keys())
        # There are less than 20 rows, of which a share would be too many.
        if gone and len(gone) == len(before) and not self._stopped.get(table):
            self._stopped[table] = False
            return
        self._stopped.pop(table, None)
        self._seen[table] = rows
        for key, row in rows.items():
            if before.get(key) != row:
                yield row | {"_op": "upsert"}
        for key in gone:
            yield dict.fromkeys(before[key]) | {"_pull_key": key, "_op": "delete"}

    def accept(self) -> list[str]:
        """Somebody looks at the tables that are stopped; returns them."""
        self._stopped = dict.fromkeys(self._stopped, True)
        return list(self._stopped)
