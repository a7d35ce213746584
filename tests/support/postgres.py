"""A real PostgreSQL from the system's packages, in a temporary folder, as an unprivileged user."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lakehouse.settings import PROJECT

ADDRESS = "LAKEHOUSE_POSTGRES_SBIT"
_TABLES = """
create table registrations (
    id bigserial primary key, user_id bigint, device_id bigint, mac_address macaddr,
    registered_at timestamptz, updated_at timestamptz default now()
);
create table gym_visits (
    id bigserial primary key, mac_address macaddr, gym int, login timestamptz,
    logout timestamptz, updated_at timestamptz default now()
);
"""
_PACKAGE = "postgresql"
_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
# Where the server keeps nothing but what a test does, it need not be safe from a loss of power.
_CONFIGURATION = """
listen_addresses = '127.0.0.1'
fsync = off
shared_buffers = 32MB
max_connections = 20
autovacuum = off
"""


class Server:
    """A server of its own: who comes by the socket is its owner, by TCP it takes a password."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self._binaries = binaries
        # The server refuses to run as root; the package has made a user for it.
        self._user = "postgres" if os.getuid() == 0 else None
        self.port = _free_port()
        if self._user:
            shutil.chown(folder, self._user, self._user)
        self._do(
            *("initdb", "--no-sync", "--username=postgres", "--encoding=UTF8", "--locale=C"),
            *("--auth-local=trust", "--auth-host=scram-sha-256"),
        )
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(
                f"{_CONFIGURATION}port = {self.port}\nunix_socket_directories = '{folder}'\n"
            )
        self.start()

    @property
    def owner(self) -> str:
        """The connection of the owner, who may do everything."""
        return f"host={self.folder} port={self.port} user=postgres dbname=postgres"

    @property
    def reader(self) -> str:
        """The connection of the role of `deploy/postgres/reader.sql`."""
        return f"host={self.folder} port={self.port} user=lakehouse_reader dbname=postgres"

    def start(self) -> None:
        self._do("pg_ctl", "start", "--wait", "--silent", f"--log={self.folder / 'log'}")

    def stop(self) -> None:
        self._do("pg_ctl", "stop", "--wait", "--silent", "--mode=immediate")

    def restart(self) -> None:
        """As after a crash: without a word to those who are connected."""
        self.stop()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """It takes connections and does not say a word."""
        postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(postmaster, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(postmaster, signal.SIGCONT)

    @contextmanager
    def known(self) -> Iterator[None]:
        """The tables of `sbit` that are pulled are there, empty, and the lakehouse knows of it."""
        with self.connect() as database:
            database.execute(_TABLES)
            database.execute((PROJECT / "deploy" / "postgres" / "reader.sql").read_text())
            database.execute("alter role lakehouse_reader password 'reads'")
        os.environ[ADDRESS] = f"{self.reader} password=reads"
        try:
            yield
        finally:
            del os.environ[ADDRESS]

    def connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.owner, autocommit=True)

    def _do(self, command: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / command), *arguments, "-D", str(self.folder / "data")],
            check=True,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            stdout=subprocess.DEVNULL,
        )


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that ends with the block; its folder has a short name, as its socket must."""
    binaries = _binaries()
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        server = Server(Path(folder), binaries)
        try:
            yield server
        finally:
            server.stop()


def _binaries() -> Path:
    """Where the server's programs are; they are installed where that can be done.

    Without them the tests fail in CI; elsewhere they are skipped with the command to type.
    """
    found = _installed()
    if found is None and os.getuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", _PACKAGE],
            check=True,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
        )
        found = _installed()
    if found is None:
        told = (
            "PostgreSQL's server is missing. Install it, on Debian with: apt-get install "
            f"{_PACKAGE}; on macOS with: brew install postgresql@16"
        )
        if os.environ.get("CI") == "true":
            pytest.fail(told)
        pytest.skip(told)
    return found


def _installed() -> Path | None:
    folders = [path for pattern in _FOLDERS for path in Path("/").glob(pattern.lstrip("/"))]
    folders += [Path(found).parent for found in [shutil.which("pg_ctl")] if found]
    whole = [path for path in folders if (path / "initdb").exists()]
    return max(whole, default=None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
