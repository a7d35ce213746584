"""What went wrong on the way in, in a line: whose fault it is, its cause and its cure."""

from __future__ import annotations

import re
from contextlib import suppress

from pyspark.errors import PySparkException

from ingestion.gate import delivered_name

# How an engine tells that it lacks something, whatever it reads.
_OF_THE_ENGINE = re.compile(
    "OutOfMemory|ACQUIRE_MEMORY|Cannot allocate memory|No space left|quota exceeded"
    "|Too many open files|Input/output error|Read-only file system|Stale file handle"
    "|Permission denied|AccessDenied|FileNotFound|NoSuchFile|PATH_NOT_FOUND"
    "|ConnectException|Connection (?:refused|reset|timed out)|Broken pipe"
    "|UNAVAILABLE|DEADLINE_EXCEEDED|InvalidHandle|INVALID_HANDLE|Interrupted|Cancel"
)
# A file's place, whose name may hold anything.
_PLACE = re.compile(r"file:\S+")
_CAUSE = re.compile(r"^Caused by: ([\w.$]+)(?:: (.*))?$", re.MULTILINE)

# Where an error of the engine names a landed file: what follows `landing/<source>.<table>/`.
_LANDED_FILE = re.compile(r"file:\S*/landing/[a-z0-9_.]+/(\S+\.(?:csv|json|parquet|gz))\b")


class LoadError(Exception):
    """A source that cannot be taken in."""


def is_of_the_engine(error: PySparkException) -> bool:
    """Whether an error tells of a lack of space, memory or connection, not of a file's content."""
    text = _PLACE.sub("", str(error).strip())
    causes = " ".join(f"{kind} {cause}" for kind, cause in _CAUSE.findall(text))
    return _OF_THE_ENGINE.search(causes or text.partition("\n")[0]) is not None


def cause_of(error: PySparkException) -> str:
    """What an error of the engine comes from, in a line of at most 1,000 characters."""
    text = str(error).strip()
    causes = [cause or kind for kind, cause in _CAUSE.findall(text)]
    return (causes[-1] if causes else text.partition("\n")[0] or type(error).__name__)[:1000]


def told(error: Exception) -> str:
    """Cause and cure of a source's failure; the landed file's delivered name where it is known."""
    if not isinstance(error, PySparkException):
        return first_line(error)
    cause = cause_of(error).rstrip(".")
    if named := _LANDED_FILE.search(str(error)):
        with suppress(ValueError):
            cause = f"{delivered_name(named[1])}: {cause}"
    if is_of_the_engine(error):
        return (
            f"{cause}. What waits is kept. See to space, memory and the engine (lakehouse down "
            "restarts it); the next round tries again."
        )
    return (
        f"{cause}. What waits is kept, and the next round tries again; should that not help, "
        "logs/engine.log has more."
    )


def why_unread(error: OSError | UnicodeDecodeError) -> str:
    """Why a file of settings cannot be read."""
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"{error.strerror}"


def first_line(error: Exception) -> str:
    """The first line of an error's message, at most 1,000 characters of it."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:1000]
