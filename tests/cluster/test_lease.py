"""The lease, on a real PostgreSQL; the engine is a process that sleeps."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from lakehouse.engine import lease
from lakehouse.errors import LakehouseError
from tests.support.lakehouse import wait_until
from tests.support.postgres import Server, running_server

# As a keeper has them here, in seconds: it holds, is renewed, and is given up so long before.
_LASTS, _RENEWS, _SPARES = 15, 1, 8
_KEEPER = f"""
import sys
from lakehouse.engine import lease
lease.SECONDS, lease.RENEW_SECONDS, lease.SPARE_SECONDS = {_LASTS}, {_RENEWS}, {_SPARES}
sys.exit(lease.Keeper(sys.argv[1], sys.argv[2]).run(["sleep", "600"]))
"""


@pytest.fixture(scope="module")
def _server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def server(_server: Server) -> Iterator[Server]:
    yield _server
    with _server.connect() as database:
        database.execute("drop table if exists lakehouse_lease, lakehouse_environment")


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that nobody keeps ends soon."""
    monkeypatch.setattr(lease, "SECONDS", 2)


@contextmanager
def _keeping(server: Server, log: Path) -> Iterator[tuple[psutil.Process, psutil.Process]]:
    """A keeper and its engine, once the keeper has renewed the lease."""
    token = lease.take(server.owner)
    [(taken_until,)] = _rows(server, "expires_at")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _KEEPER, server.owner, token], stdout=output, stderr=output
        )
    keeper = psutil.Process(process.pid)
    try:
        wait_until(lambda: _rows(server, "expires_at") != [(taken_until,)])
        wait_until(keeper.children)  # it renews before it starts anything
        [engine] = keeper.children()
        yield keeper, engine
    finally:
        for one in (*keeper.children(), keeper) if keeper.is_running() else ():
            one.kill()
        process.wait()


def _rows(server: Server, *columns: str) -> list[tuple[object, ...]]:
    with server.connect() as database:
        return database.execute(f"select {', '.join(columns)} from lakehouse_lease").fetchall()


def _expires_in(server: Server) -> float:
    """How long the row still holds, by the database's clock, in seconds."""
    [(seconds,)] = _rows(server, "extract(epoch from expires_at - clock_timestamp())::float")
    assert isinstance(seconds, float)
    return seconds


def test_a_second_driver_is_told_who_holds_it_and_has_written_nothing(server: Server) -> None:
    token = lease.take(server.owner)
    before = _rows(server, "*")
    with pytest.raises(LakehouseError) as error:
        lease.take(server.owner)
    told = str(error.value)
    assert f"process {os.getpid()}, since 20" in told
    assert len(told.splitlines()) == 1
    assert error.value.exit_code == 1
    assert _rows(server, "*") == before
    lease.give_back(server.owner, token)
    lease.take(server.owner)


def test_a_catalog_is_of_the_environment_that_first_drove_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A home that is new knows of nothing, and the catalog's variables are soon copied."""
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "prod")
    lease.give_back(server.owner, lease.take(server.owner))
    monkeypatch.delenv("LAKEHOUSE_ENVIRONMENT")
    with pytest.raises(LakehouseError, match="the catalog of prod, and LAKEHOUSE_ENV") as error:
        lease.take(server.owner)
    assert error.value.exit_code == 2
    assert _rows(server, "token") == []
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "prod")
    lease.take(server.owner)


@pytest.mark.usefixtures("_short")
def test_a_dead_driver_lets_go_by_itself_and_comes_back_too_late(server: Server) -> None:
    first = lease.take(server.owner)
    wait_until(lambda: _expires_in(server) < 0)
    second = lease.take(server.owner)
    lease.give_back(server.owner, first)  # which is nothing of its own any more
    assert _rows(server, "token") == [(second,)]


def test_a_keeper_that_is_told_to_end_ends_its_engine_and_gives_back(
    server: Server, tmp_path: Path
) -> None:
    with _keeping(server, tmp_path / "log") as (keeper, engine):
        keeper.terminate()
        wait_until(lambda: not engine.is_running())
        wait_until(lambda: not _rows(server, "token"))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills with the parent")
def test_an_engine_does_not_outlive_its_keeper(server: Server, tmp_path: Path) -> None:
    with _keeping(server, tmp_path / "log") as (keeper, engine):
        os.kill(keeper.pid, signal.SIGKILL)
        wait_until(lambda: not engine.is_running())
        assert _rows(server, "token")  # nobody may start before the row's end


def test_an_engine_ends_before_another_may_start_where_the_database_is_gone(
    server: Server, tmp_path: Path
) -> None:
    with _keeping(server, tmp_path / "log") as (_, engine):
        server.stop()
        try:
            wait_until(lambda: not engine.is_running())
        finally:
            server.start()
        assert _expires_in(server) > 0
    assert "could not be renewed" in (tmp_path / "log").read_text()


def test_an_engine_ends_before_another_may_start_where_the_database_is_silent(
    server: Server, tmp_path: Path
) -> None:
    with _keeping(server, tmp_path / "log") as (_, engine):
        with server.frozen():
            wait_until(lambda: not engine.is_running())
        assert _expires_in(server) > 0


def test_an_engine_ends_whose_lease_is_another_drivers(server: Server, tmp_path: Path) -> None:
    with _keeping(server, tmp_path / "log") as (_, engine):
        with server.connect() as database:
            database.execute("update lakehouse_lease set token = 'other'")
        wait_until(lambda: not engine.is_running())
    assert _rows(server, "token") == [("other",)]


def test_a_database_that_is_not_there_is_told_in_a_line() -> None:
    with pytest.raises(LakehouseError, match="The catalog's database cannot be asked: ") as error:
        lease.take("host=127.0.0.1 port=1 password=hidden")
    assert len(str(error.value).splitlines()) == 1
    assert "hidden" not in str(error.value)
