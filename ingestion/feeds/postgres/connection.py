"""The snapshot of a database, in which every wait has an end, and what fails there in a line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict

from ingestion.faults import LoadError
from ingestion.feeds.postgres.declared import Postgres

# Of each source, the setting that holds its connection.
PREFIX: Final = "LAKEHOUSE_POSTGRES_"
_KEYS: Final = (
    "host", "hostaddr", "port", "dbname", "user", "password", "passfile", "sslmode", "sslrootcert",
    "connect_timeout", "application_name",
)  # fmt: skip
# How long a connection, a lock and a statement (or the next rows of one) may take, in seconds.
CONNECT_SECONDS: Final = 10
LOCK_SECONDS: Final = 10
STATEMENT_SECONDS: Final = 300
_GRACE_SECONDS: Final = 30
# How long a snapshot waits for its next step: for the load in between, and the loop's pace.
REST_SECONDS: Final = 3600
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
# Classes of SQLSTATE: of errors that quote a value, and of those that a statement deserves.
_DATA_EXCEPTION: Final = "22"
_WRONG_STATEMENT: Final = "42"


class PullError(LoadError):
    """A table cannot be pulled, or it is not to be pulled as it is."""


class _Connection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that does not wait for ever for a server that can no longer end a statement."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        seconds = timeout or STATEMENT_SECONDS + _GRACE_SECONDS
        try:
            return super().wait(gen, interval, seconds)
        except psycopg.errors._WaitTimeout:
            self.close()
            raise psycopg.OperationalError(f"it has not answered for {seconds} s") from None


def connection_of(source: str, conninfo: str) -> dict[str, Any]:
    """What libpq needs; nothing that is written there is ever told.

    Raises:
        PullError: It is written wrongly, or could load code.
    """
    try:
        given = conninfo_to_dict(conninfo)
    except psycopg.Error:
        given = None
    if given is None or not set(given) <= set(_KEYS):
        raise PullError(
            f"{setting_of(source)} is no connection as libpq writes it, or has another key than "
            f"these: {', '.join(_KEYS)}. For example: host=db.example dbname=shop "
            "user=lakehouse_reader passfile=/etc/lakehouse/pgpass"
        )
    return {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "lakehouse",
        **{key: value for key, value in given.items() if value is not None},
        **_KEEPALIVE,
        "client_encoding": "utf8",
        "autocommit": True,
        "prepare_threshold": None,  # a plan is made for the keys that are asked for
    }


def setting_of(source: str) -> str:
    """The setting that holds a source's connection."""
    return f"{PREFIX}{source.upper()}"


@contextmanager
def snapshot(connection: Mapping[str, Any]) -> Iterator[psycopg.Connection]:
    """One look at the whole database, which can change nothing.

    Raises:
        psycopg.Error: The database cannot be asked.
    """
    session = _SESSION | {
        "statement_timeout": f"{STATEMENT_SECONDS}s",
        "lock_timeout": f"{LOCK_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{REST_SECONDS}s",
    }
    with closing(_Connection.connect(**connection)) as opened:
        opened.execute(
            "select set_config(key, value, false) from json_each_text(%s)", [json.dumps(session)]
        )
        opened.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        opened.read_only = True
        with opened.transaction():
            yield opened


def told(error: psycopg.Error, spec: Postgres) -> str:
    """Cause and cure of what the database says to a statement about a table."""
    state = error.sqlstate or ""
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return (
            f"{spec.in_database} has been locked by another for {LOCK_SECONDS} s; the next pull "
            "goes on when it is free"
        )
    if isinstance(error, psycopg.errors.QueryCanceled):
        return (
            f"the database took more than {STATEMENT_SECONDS} s for a statement; see what it is "
            f"busy with, and whether {spec.in_database} has indexes on its key"
            + (f" and on {spec.changed_at}" if spec.changed_at else "")
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return f"{line_of(error)}. Grant it, see deploy/postgres/reader.sql"
    if state.startswith(_DATA_EXCEPTION):
        return (
            f"a value of {spec.in_database} is none that its column or expression can be "
            f"({type(error).__name__}); say in postgres.columns what becomes of such values"
        )
    if state.startswith(_WRONG_STATEMENT):
        return f"{line_of(error)}. Correct postgres in its declaration"
    return f"the database failed: {line_of(error)}. The next pull tries again"


def line_of(error: psycopg.Error) -> str:
    """What the database says, in a line."""
    return " ".join((error.diag.message_primary or str(error)).split())[:500]
