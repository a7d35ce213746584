"""One driver at a time: a row in the catalog's database says which, and until when.

    python -m lakehouse.engine.lease COMMAND...    runs the engine while it renews its row

A lock of a session would be gone as soon as the database loses the connection, and another driver
would go on before this one knows. A row outlives the connection, and by the database's own clock:
who cannot renew it ends the engine before the row has expired. Nobody else's clock matters.
"""

from __future__ import annotations

import ctypes
import getpass
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from lakehouse.environment import environment
from lakehouse.errors import LakehouseError

ADDRESS, TOKEN = "LAKEHOUSE_CLUSTER_CATALOG", "LAKEHOUSE_LEASE_TOKEN"
# How long a row holds that nobody renews, how often it is renewed, and how long before its end a
# driver that could not renew it is killed: a statement that is on its way to storage may take time.
SECONDS, RENEW_SECONDS, SPARE_SECONDS = 60, 10, 15
_LOOK_SECONDS = 0.5
_TABLE = """
create table if not exists lakehouse_lease (
    name text primary key, token text not null, holder text not null,
    since timestamptz not null, expires_at timestamptz not null
)
"""
# Whose catalog this is; a home's mark is of the driver's disk, which another driver does not see.
_OWNER = """
create table if not exists lakehouse_environment (name text primary key);
insert into lakehouse_environment
select {} where not exists (select from lakehouse_environment)
"""
_TAKE = """
insert into lakehouse_lease as held
values ('driver', %(token)s, %(holder)s, clock_timestamp(), clock_timestamp() + %(lasts)s)
on conflict (name) do update
set token = excluded.token, holder = excluded.holder, since = excluded.since,
    expires_at = excluded.expires_at
where held.expires_at < clock_timestamp()
"""
_RENEW = """
update lakehouse_lease set holder = %(holder)s, expires_at = clock_timestamp() + %(lasts)s
where token = %(token)s and expires_at >= clock_timestamp()
"""
_HELD = (
    "select holder, since, expires_at from lakehouse_lease where expires_at >= clock_timestamp()"
)


@dataclass(frozen=True)
class Holder:
    """Who holds the lease: user, machine and process, since when, and until when at least."""

    name: str
    since: str
    expires_at: str


def take(address: str) -> str:
    """Takes the lease, for a driver that is about to start.

    Args:
        address: The catalog's database, as libpq has it.

    Returns:
        The token, with which the lease is renewed and given back.

    Raises:
        LakehouseError: Another driver holds it, the catalog is another environment's, or the
            database cannot be asked.
    """
    token = str(uuid.uuid4())
    try:
        with _connect(address) as database:
            database.execute("select pg_advisory_xact_lock(hashtext('lakehouse_lease'))")
            database.execute(_TABLE)
            taken = database.execute(_TAKE, _row(token)).rowcount
            if taken:
                _mark(database)
            held = None if taken else _holder(database)
    except psycopg.Error as error:
        raise LakehouseError(_told(error)) from None
    if taken:
        return token
    who = f"{held.name}, since {held.since}" if held else "another driver"
    until = held.expires_at if held else f"{SECONDS} s from now"
    raise LakehouseError(
        f"Another driver works on this lakehouse: {who}. Stop it there (lakehouse down); one that "
        f"is dead lets go by itself at {until}."
    )


def give_back(address: str, token: str) -> None:
    """Lets the next driver start at once; what cannot be told now, time will tell."""
    with suppress(psycopg.Error), _connect(address) as database:
        database.execute("delete from lakehouse_lease where token = %s", [token])


def _mark(database: psycopg.Connection[Any]) -> None:
    """Writes down whose catalog this is, unless it is written.

    Raises:
        LakehouseError: It is another environment's; the lease is not taken then.
    """
    name = environment()
    database.execute(sql.SQL(_OWNER).format(name))
    [(owner,)] = database.execute("select name from lakehouse_environment").fetchall()
    if owner != name:
        raise LakehouseError(
            f"{ADDRESS} names the catalog of {owner}, and LAKEHOUSE_ENVIRONMENT is {name}. Set it "
            f"to {owner}, or choose another catalog and storage; should the catalog's table "
            "lakehouse_environment be wrong, correct it.",
            exit_code=2,
        )


def _holder(database: psycopg.Connection[Any]) -> Holder | None:
    row = database.execute(_HELD).fetchone()
    if row is None:
        return None
    name, *times = row
    return Holder(name, *(f"{at:%Y-%m-%d %H:%M:%S %Z}" for at in times))


def _connect(address: str) -> psycopg.Connection[Any]:
    # So that one answer which does not come is not the last that is waited for.
    return psycopg.connect(
        address,
        connect_timeout=5,
        tcp_user_timeout=5000,
        options="-c timezone=UTC -c statement_timeout=5000",
    )


def _row(token: str) -> dict[str, str]:
    holder = f"{getpass.getuser()}@{socket.gethostname()}, process {os.getpid()}"
    return {"token": token, "holder": holder, "lasts": f"{SECONDS} seconds"}


def _told(error: psycopg.Error) -> str:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return f"The catalog's database cannot be asked: {reason}. Start it, or correct {ADDRESS}."


class Keeper:
    """Runs the engine, and renews the lease as long as it runs.

    The engine ends with the keeper: by its signal, and on Linux also where that one is killed.

    Args:
        address: The catalog's database.
        token: What `take` has returned.
    """

    def __init__(self, address: str, token: str) -> None:
        self._address = address
        self._token = token
        self._engine: subprocess.Popen[bytes] | None = None
        # Until when no other driver can have begun, on the clock of `_now`.
        self._sure_until = 0.0

    def run(self, command: list[str], lock: int | None = None) -> int:
        """Runs the engine to its end.

        Args:
            command: The engine's.
            lock: A file descriptor that the engine inherits.

        Returns:
            Its exit code.
        """
        signal.signal(signal.SIGTERM, lambda *_: self._end(signal.SIGTERM))
        keeper = os.getpid()
        self._renew()  # nobody knows how long ago it was taken
        if _now() > self._sure_until:
            return 1
        self._engine = subprocess.Popen(
            command,
            pass_fds=[] if lock is None else [lock],
            preexec_fn=lambda: _end_with(keeper),  # noqa: PLW1509 - there is one thread as yet
        )
        # A thread of its own: no signal and no deadline gets through to one that waits for the
        # database.
        threading.Thread(target=self._renew_for_ever, daemon=True).start()
        while (code := self._engine.poll()) is None:
            if _now() > self._sure_until:
                _log("The lease could not be renewed: the engine ends.")
                self._end(signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._engine.wait(_LOOK_SECONDS)
        give_back(self._address, self._token)
        return code

    def _renew_for_ever(self) -> None:
        while True:
            time.sleep(RENEW_SECONDS)
            self._renew()

    def _renew(self) -> None:
        asked = _now()
        try:
            with _connect(self._address) as database:
                is_ours = database.execute(_RENEW, _row(self._token)).rowcount == 1
        except psycopg.Error as error:
            _log(_told(error))
        else:
            self._sure_until = asked + SECONDS - SPARE_SECONDS if is_ours else 0.0

    def _end(self, sign: signal.Signals) -> None:
        if self._engine:
            self._engine.send_signal(sign)


def _now() -> float:
    """Seconds of a clock that nobody sets and that goes on while the machine sleeps."""
    # Python's own stops then on Linux: a machine that wakes up would go on to write for seconds.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _log(line: str) -> None:
    """Into the engine's log."""
    print(line, file=sys.stderr, flush=True)


def _end_with(keeper: int) -> None:
    """Has the kernel kill this process when the keeper is gone; there is no such thing on macOS."""
    if sys.platform == "linux":
        kill_with_parent = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(kill_with_parent, signal.SIGKILL)
        if os.getppid() != keeper:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    lock_given = int(sys.argv[1])
    sys.exit(Keeper(os.environ[ADDRESS], os.environ[TOKEN]).run(sys.argv[2:], lock_given))
