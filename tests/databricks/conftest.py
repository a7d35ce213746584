"""dbt with a warehouse that runs nothing, and without a network."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from dbt.adapters.databricks.spog import probe
from dbt.cli.main import dbtRunner

from tests.databricks.warehouse import CATALOG, Statement, Warehouse

PROJECT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "DATABRICKS_HOST": "nowhere.invalid",
    "DATABRICKS_HTTP_PATH": "/sql/1.0/warehouses/0",
    "DATABRICKS_TOKEN": "none",
    "DATABRICKS_CATALOG": CATALOG,
    "LAKEHOUSE_TARGET": "databricks",
}
ERRORS = '{"error": ["Deprecations"], "silence": ["InvalidMacroAnnotation"]}'


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="write down anew what is sent")


@pytest.fixture(scope="session", autouse=True)
def settings_alone() -> Iterator[None]:
    """The settings of these tests, none of the shell's, and no way out of this machine."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LAKEHOUSE_", "DBT_", "DATABRICKS_"))
    }
    no_network = mock.Mock(side_effect=AssertionError("a test asked for the network"))
    nothing_told = mock.Mock(return_value=probe.HostMetadata(host_type=None))
    with (
        mock.patch.dict(os.environ, kept | SETTINGS, clear=True),
        mock.patch.object(socket.socket, "connect", no_network),
        mock.patch.object(probe, "probe_host", nothing_told),
    ):
        yield


@dataclass
class Dbt:
    """Runs commands of dbt in this process; their artifacts lie in `folder`."""

    folder: Path

    def run(self, *command: str, warehouse: Warehouse | None = None) -> list[Any]:
        """The results of the nodes; the test fails where the command does."""
        connect = warehouse.connect if warehouse else None
        with mock.patch("databricks.sql.connect", connect):
            done = dbtRunner().invoke(
                [
                    *("--log-level", "none", "--warn-error-options", ERRORS, *command),
                    *("--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)),
                    *("--target-path", str(self.folder / "target")),
                    *("--log-path", str(self.folder / "logs")),
                ]
            )
        results = list(done.result) if command[0] != "parse" and done.result else []
        bad = {one.node.unique_id: one.message for one in results if one.status in _BAD}
        assert done.success, done.exception or bad
        return results

    @property
    def manifest(self) -> dict[str, Any]:
        """The project as dbt has read it last."""
        read: dict[str, Any] = json.loads((self.folder / "target/manifest.json").read_text())
        return read


_BAD = ("error", "fail", "runtime error")


@dataclass
class Builds:
    """A build of an empty warehouse with all tests, and one after another load.

    Attributes:
        warehouse: The warehouse after both.
        statements: What each of the two sent.
        results: What became of each node in each of the two.
    """

    warehouse: Warehouse
    statements: list[list[Statement]]
    results: list[list[Any]]

    def of(self, build: int, node: str) -> list[str]:
        """What a build (0 or 1) sent for a node, by the node's id."""
        return [one.sql for one in self.statements[build] if one.node == node]


@pytest.fixture(scope="session")
def dbt(tmp_path_factory: pytest.TempPathFactory) -> Dbt:
    """dbt, with the project read for Databricks, deprecations as errors."""
    dbt = Dbt(tmp_path_factory.mktemp("dbt"))
    dbt.run("parse", "--no-partial-parse")
    return dbt


@pytest.fixture(scope="session")
def manifest(dbt: Dbt) -> dict[str, Any]:
    return dbt.manifest


@pytest.fixture(scope="session")
def builds(dbt: Dbt, manifest: dict[str, Any]) -> Builds:
    """One thread, so that the order in which things are sent is that of the nodes."""
    warehouse = Warehouse(manifest)
    results = [dbt.run("build", "--threads", "1", warehouse=warehouse)]
    first = len(warehouse.statements)
    warehouse.load += 1
    # Unit tests have inputs of their own: no build before makes them another.
    later = ("build", "--threads", "1", "--exclude-resource-type", "unit_test")
    results.append(dbt.run(*later, warehouse=warehouse))
    sent = warehouse.statements
    return Builds(warehouse, [sent[:first], sent[first:]], results)
