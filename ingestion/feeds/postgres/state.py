"""What was pulled last of a table, in SQLite: keys and digests of its rows, and a few facts.

    seen   what a pull sees now, as long as it lasts       rows   what was pulled last

What differs between the two is what the pull brings.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

# The most rows and bytes, as PostgreSQL writes them as text, that are held at once.
_BATCH_ROWS: Final = 5_000
_BATCH_BYTES: Final = 8 * 1024**2
_TABLES: Final = """
create table if not exists rows (key text primary key, digest blob not null) without rowid;
create table if not exists facts (name text primary key, value) without rowid;
create temp table seen (
    key text primary key, digest blob not null, num_bytes integer not null
) without rowid;
"""
# Of each operation, the keys that it concerns, and the bytes that come of each: a deleted row is
# nothing but its key.
_CHANGES: Final = {
    "upsert": "select key, num_bytes from seen left join rows using (key) "
    "where seen.digest is not rows.digest",
    "delete": "select key, length(key) from rows "
    "where not exists (select 1 from seen where seen.key = rows.key)",
}
_HOLD: Final = {
    "upsert": "insert or replace into rows select key, digest from seen where key = ?",
    "delete": "delete from rows where key = ?",
}


class Change(NamedTuple):
    """`upsert` or `delete` of some rows: their keys, and their bytes as text."""

    op: str
    keys: list[str]
    sizes: list[int]


class State:
    """The state of one table; each method is a transaction, and nothing is locked in between."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[State]:
        """Opens the state for a pull, which has seen nothing yet."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(path, timeout=10)) as database:
            database.execute("pragma journal_mode = wal")
            database.execute("pragma synchronous = full")
            database.execute("pragma secure_delete = on")  # a key may tell of a person
            database.execute("pragma temp_store = file")
            database.executescript(_TABLES)
            yield cls(database)

    @classmethod
    @contextmanager
    def looked_at(cls, path: Path) -> Iterator[State | None]:
        """Opens the state for reading, also while a pull goes on; None if there is none yet."""
        if not path.exists():
            yield None
            return
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            yield cls(database)

    def fact(self, name: str) -> Any:
        """A fact; None where it is unknown."""
        row = self._database.execute("select value from facts where name = ?", (name,)).fetchone()
        return row and row[0]

    def note(self, **facts: str | float | None) -> None:
        """Writes facts down; None forgets one."""
        with self._database:
            for name, value in facts.items():
                if value is None:
                    self._database.execute("delete from facts where name = ?", (name,))
                elif value != self.fact(name):
                    self._database.execute(
                        "insert or replace into facts values (?, ?)", (name, value)
                    )

    def begin_anew(self, declared: str) -> None:
        """Lets the next comparison bring all rows, in another shape than before."""
        with self._database:
            self._database.execute("update rows set digest = x''")
            self.note(compared_at=None, declared=declared)

    def num_rows(self) -> int:
        """The rows held, as they were pulled last."""
        return self._count("rows")

    def num_deletes(self) -> int:
        """The rows held that have not been seen."""
        return self._count(f"({_CHANGES['delete']})")

    def see(self, rows: Iterable[tuple[str, bytes, int]]) -> None:
        """Keeps in mind the key, the digest and the bytes as text of rows.

        Raises:
            sqlite3.IntegrityError: A key has been seen before.
        """
        with self._database:
            self._database.executemany("insert into seen values (?, ?, ?)", rows)

    def changes(self, op: str) -> Iterator[Change]:
        """What has changed, in the order of the keys, few enough at once to be held."""
        least = ""
        while rows := self._database.execute(
            f"{_CHANGES[op]} and key >= ? order by key limit ?", (least, _BATCH_ROWS)
        ).fetchall():
            keys, sizes = map(list, zip(*rows, strict=True))
            num = max(1, bisect_right(list(accumulate(sizes)), _BATCH_BYTES))
            yield Change(op, keys[:num], sizes[:num])
            least = f"{keys[num - 1]}\0"  # no key holds NUL, so this is the least one above

    def expect(self, pull_id: int, changes: Iterable[Change]) -> None:
        """Says that what is held of these rows may be no more what has been delivered last.

        Whatever becomes of them, the next comparison tells of it, unless `hold` is heard.
        """
        with self._database:
            self._for_each("insert or replace into rows values (?, x'')", changes)
            self.note(pull_id=pull_id)

    def hold(self, changes: Iterable[Change]) -> None:
        """Holds as pulled what has been delivered."""
        with self._database:
            for change in changes:
                self._for_each(_HOLD[change.op], [change])

    def _for_each(self, statement: str, changes: Iterable[Change]) -> None:
        keys = ((key,) for change in changes for key in change.keys)
        self._database.executemany(statement, keys)

    def _count(self, what: str) -> int:
        return cast(int, self._database.execute(f"select count(*) from {what}").fetchone()[0])
