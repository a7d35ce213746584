"""Lakehouses on a real engine, one home and one engine for all, emptied for each module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lakehouse.settings import Settings
from tests.support.kafka import Broker
from tests.support.lakehouse import Lakehouse, home_of_its_own
from tests.support.postgres import Server, running_server
from tests.support.set_1 import SHARED

_OF_SHARED = ("test_set_1.py", "test_batches.py", "test_ways_in.py", "test_reported_cases.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What ends the engine comes last: a warm one is worth minutes.

    The real data set and the reported cases are not part of the project: where nothing of them is
    beside it, as on a hosted runner, their tests are skipped visibly.
    """
    items.sort(key=lambda item: item.get_closest_marker("ends_engine") is not None)
    if SHARED.exists():
        return
    for item in items:
        if item.path.name in _OF_SHARED:
            item.add_marker(pytest.mark.skip(f"what it reads is not in {SHARED}"))


@pytest.fixture(scope="session")
def settings(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Iterator[Settings]:
    """One home for all tests: a warm engine is worth more than a fresh one.

    As `lakehouse run` has it where few rows have come, dbt's statements are interpreted; but for
    the deep tests.
    """
    if pytestconfig.getoption("markexpr") == "not deep":
        os.environ["LAKEHOUSE_INTERPRETS"] = "1"
    with home_of_its_own(tmp_path_factory.mktemp("home with ü") / "home") as settings:
        yield settings


@pytest.fixture(scope="session")
def broker_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One broker for all tests."""
    broker = Broker(tmp_path_factory.mktemp("kafka") / "broker")
    broker.start()
    try:
        yield broker
    finally:
        broker.kill()


@pytest.fixture(scope="module")
def kafka(broker_process: Broker) -> Iterator[Broker]:
    """The broker with all declared topics, empty; no other module's tests know of it."""
    with broker_process.known():
        yield broker_process


@pytest.fixture
def postgres() -> Iterator[Server]:
    """A database without rows, which the lakehouse pulls from."""
    with running_server() as server, server.known():
        yield server


@pytest.fixture(scope="module")
def lakehouse(settings: Settings) -> Lakehouse:
    """An empty lakehouse for the tests of one module."""
    lakehouse = Lakehouse(settings)
    if settings.paths.warehouse.exists():
        lakehouse.empty()
    return lakehouse
