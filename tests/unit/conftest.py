"""A unit test hangs on the code alone: on no variable, speed or luck of the machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from dbt.cli.main import dbtRunner
from hypothesis import HealthCheck, settings

from lakehouse.settings import PROJECT

OF_THE_PROJECT = ("LAKEHOUSE_", "DBT_")
OF_TERMINALS = ("FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "NO_COLOR", "TERMINAL_WIDTH")
AT_ANY_SPEED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# What a change must pass draws the same each time; a search draws anew: --hypothesis-profile=search
settings.register_profile("repeatable", AT_ANY_SPEED, derandomize=True)
settings.register_profile("search", AT_ANY_SPEED, derandomize=False)


# A console looks at these when it is made, with the module that it is in.
for _name in OF_TERMINALS:
    os.environ.pop(_name, None)


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def variables_of_its_own() -> Iterator[None]:
    """Neither what the shell has set nor what another test has left."""
    with mock.patch.dict(os.environ):
        for name in list(os.environ):
            if name.startswith(OF_THE_PROJECT):
                del os.environ[name]
        yield


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The project as dbt reads it."""
    folder = tmp_path_factory.mktemp("dbt")
    result = dbtRunner().invoke(
        [
            *("--log-level", "none", "parse", "--no-partial-parse"),
            *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
            *("--target-path", str(folder / "target"), "--log-path", str(folder / "logs")),
        ]
    )
    assert result.success, result.exception
    return result.result
