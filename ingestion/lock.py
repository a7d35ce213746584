"""One at a time: a lock on a file, which frees itself when the process that holds it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class LockedError(Exception):
    """Somebody else holds the lock."""


@contextmanager
def locked(path: Path, work: str) -> Iterator[None]:
    """Holds the lock on a file.

    Args:
        path: The file; it is made where it is missing, and holds the holder's process number.
        work: What the holder does, for the one who is refused.

    Raises:
        LockedError: Another process holds it; the message names it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise LockedError(
                f"Process {holder} {work} at the moment. Wait for it, or stop it."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
