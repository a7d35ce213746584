"""What the rows of a table say of each key: now, and from when to when.

A table of a database is state, not events. A key that came by file and by pull is the pulls' alone.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Hashable, Iterable
from decimal import Decimal
from itertools import groupby
from typing import Any, Generic, NamedTuple, TypeVar

from tests.oracle.retail.rows import Key, Told, Typed

Row = TypeVar("Row")


class Version(NamedTuple):
    """What a key says from a moment on, up to the next version; None: it is gone."""

    begin: int
    row: Any


class States(Generic[Row]):
    """The states of all keys of a table.

    Attributes:
        ever: The keys that have ever been there.
        now: By key, the row as it is now; a key that is gone is not there.
        versions: By key, its versions in order, no two of one begin.
        conflicts: Rows of files beside which another of the same key and moment counts.
    """

    def __init__(self, told: Iterable[Told]) -> None:
        of_keys: dict[Key, list[Told]] = defaultdict(list)
        for one in told:
            of_keys[one.key].append(one)
        self.ever: set[Key] = set()
        self.versions: dict[Key, list[Version]] = {}
        self.now: dict[Key, Row] = {}
        self.conflicts = 0
        for key, of_key in of_keys.items():
            by_file = [one for one in of_key if one.pull is None]
            pulled = [one for one in of_key if one.pull is not None]
            versions = _by_file(by_file)
            self.conflicts += len(by_file) - len(versions)
            if pulled:
                versions = _pulled(pulled)
            if any(one.row for one in pulled or by_file):
                self.ever.add(key)
            self.versions[key] = versions
            if versions[-1].row is not None:
                self.now[key] = versions[-1].row

    def at(self, *key: Hashable, moment: int) -> Row | None:
        """What a key said at a moment, the very one of a change included.

        Before its first version: what that says. None: it is not known, or gone.
        """
        versions = self.versions.get(key)
        if not versions:
            return None
        last = bisect_right(versions, moment, key=lambda version: version.begin) - 1
        row: Row | None = versions[max(last, 0)].row
        return row


def _by_file(rows: Iterable[Told]) -> list[Version]:
    """In the order of the change column; of one moment a delete counts, then the least digest."""
    ordered = sorted(rows, key=lambda one: one.changed_at or 0)
    versions = []
    for changed_at, of_moment in groupby(ordered, key=lambda one: one.changed_at or 0):
        counts = min(of_moment, key=lambda one: (one.row is not None, digest(one.row)))
        versions.append(Version(changed_at, counts.row))
    return versions


def digest(row: Typed | None) -> str:
    """SHA-256 of a row's content, in hex: each value's text with its length, in their order."""
    texts = [None if value is None else _text(value) for value in row or ()]
    content = ",".join("-" if text is None else f"{len(text)}:{text}" for text in texts)
    return hashlib.sha256(content.encode("utf-8", errors="replace")).hexdigest()


def _text(value: Any) -> str:
    """Money with its cents, times as microseconds since 1970."""
    return f"{value:.2f}" if isinstance(value, Decimal) else str(value)


def _pulled(rows: Iterable[Told]) -> list[Version]:
    """In the order of the pulls.

    A version begins at the change column; where there is none, where it has not moved, and where
    the row is gone, at the pull; never before the version that was pulled earlier. Of two that
    begin at one moment the one pulled last counts.
    """
    versions: dict[int, Version] = {}
    before: Told | None = None
    begin, last_changed_at = 0, None
    for one in sorted(rows, key=lambda one: one.pull or 0):
        if before and (one.row, one.changed_at) == (before.row, before.changed_at):
            continue
        has_moved = one.changed_at is not None and one.changed_at != last_changed_at
        began = one.changed_at if one.row is not None and has_moved else one.pulled_at
        begin = max(begin, began or 0) if before else began or 0
        versions[begin] = Version(begin, one.row)
        before, last_changed_at = one, one.changed_at or last_changed_at
    return list(versions.values())


def distinct(clicks: Iterable[Any]) -> tuple[list[Any], int]:
    """One click for each id: of several contents the earlier, then the least digest.

    Returns:
        The clicks that count, and the number of the others.
    """
    found: dict[int, list[Any]] = defaultdict(list)
    for click in clicks:
        found[click.click].append(click)
    counting = [
        min(of_id, key=lambda click: (click.clicked_at, digest(click))) for of_id in found.values()
    ]
    return counting, sum(map(len, found.values())) - len(counting)
