"""The same files through the same project, on the local engine and on a cluster, from two drivers.

The drivers share the catalog and storage, and no folder. What gold has to hold is told by plain
Python, and by the local engine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from lakehouse import engine
from lakehouse.engine import lease
from lakehouse.settings import PROJECT
from tests.support.cluster import Cluster, environment
from tests.support.domains import DOMAINS, File
from tests.support.lakehouse import Lakehouse, home_of_its_own, run, wait_until

STORIES: dict[str, dict[str, Any]] = {
    "wearables": {"minutes": 30, "users": 4, "late": 0.1, "duplicates": 0.1, "corrupt": 0.005},
    "network": {"minutes": 15, "servers": 2, "customers": 8, "late": 0.1, "duplicates": 0.1},
    "retail": {"minutes": 10, "days": 5, "customers": 12, "late": 0.1, "duplicates": 0.1},
}
# Accounts that say how many events came, were taken and were not.
ACCOUNTS = ("audit.rejects", "audit.unmatched", "audit.conflicts")


@pytest.fixture(scope="module")
def files() -> list[File]:
    return [file for name, story in STORIES.items() for file in DOMAINS[name].files(5, story)]


@contextmanager
def _driver(home: Path, cluster: Cluster | None = None) -> Iterator[Lakehouse]:
    """A lakehouse whose engine ends with the block, on this machine alone or on the cluster."""
    told = cluster.environment if cluster else {"LAKEHOUSE_TARGET": "local"}
    with environment(told), home_of_its_own(home) as settings:
        yield Lakehouse(settings, tuple(STORIES))


def _gold(lakehouse: Lakehouse) -> dict[str, list[dict[str, Any]]]:
    """The rows of all that is in `gold`."""
    names = tuple(row["tableName"] for row in lakehouse.rows("show tables in gold"))
    assert len(names) > 15
    return lakehouse.gold("gold", names)


def _accounts(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    """What came of files, and how many rows each account has, whatever the number of the load."""
    counts = " union all ".join(
        f"select '{name}' as what, count(*) as num_rows from {name}" for name in ACCOUNTS
    )
    return lakehouse.rows(
        "select concat_ws(' ', source, status) as what, count(*) as num_rows from audit.files "
        f"group by all union all {counts} order by what"
    )


def _halves(files: list[File]) -> tuple[list[File], list[File]]:
    return files[::2], files[1::2]


@pytest.fixture(scope="module")
def of_the_local_engine(
    files: list[File], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Gold and accounts of the local engine."""
    with _driver(tmp_path_factory.mktemp("local") / "home") as lakehouse:
        for half in _halves(files):
            lakehouse.deliver_files(half)
            run(lakehouse, "run", "--once")
        return _gold(lakehouse), _accounts(lakehouse)


@pytest.fixture(scope="module")
def first(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """The driver that works."""
    with _driver(tmp_path_factory.mktemp("first") / "home", cluster) as lakehouse:
        yield lakehouse


def _objects() -> list[str]:
    found = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket="lakehouse")
    return [entry["Key"] for page in found for entry in page.get("Contents", [])]


def test_a_build_ends_right_although_a_worker_is_killed(
    first: Lakehouse,
    cluster: Cluster,
    files: list[File],
    of_the_local_engine: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    one_half, other_half = _halves(files)
    first.deliver_files(one_half)
    run(first, "run", "--once")
    first.deliver_files(other_half)
    run(first, "ingest", "--once")
    log = first.settings.paths.logs / "killed.log"
    with log.open("wb") as output:
        build = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("dbt"), "build", "--target", "cluster"),
                *("--exclude-resource-type", "unit_test"),
                *("--target-path", first.settings.paths.root / "bare"),
            ],
            cwd=PROJECT,
            stdout=output,
            stderr=output,
        )
    wait_until(lambda: "OK created sql incremental" in log.read_text() or build.poll(), 300)
    assert build.poll() is None, log.read_text()[-3000:]
    cluster.kill_worker()
    assert build.wait() == 0, log.read_text()[-3000:]
    gold, accounts = of_the_local_engine
    found = _gold(first)
    assert found.keys() == gold.keys()
    assert {mart for mart in gold if found[mart] != gold[mart]} == set()
    assert _accounts(first) == accounts
    for name in STORIES:
        answers = DOMAINS[name].answers(file for file in files if file.table in _of(name, files))
        for mart in (*DOMAINS[name].marts, *DOMAINS[name].live):
            assert found[mart] == answers[mart], mart


def _of(domain: str, files: list[File]) -> set[str]:
    source = {"wearables": "sbit", "network": "telecom", "retail": "retail"}[domain]
    return {file.table for file in files if file.table.startswith(f"{source}.")}


def test_all_is_in_storage_and_nothing_of_it_on_the_drivers_disk(first: Lakehouse) -> None:
    folders = {key.split("/")[1] for key in _objects()}
    assert {"warehouse", "landing", "checkpoints"} <= folders
    root = first.settings.paths.root
    assert not (root / "warehouse").exists()
    assert not (root / "landing").exists()
    assert not list((root / "metastore").rglob("*"))
    assert not [path for path in root.rglob("*.parquet") if "inbox" not in path.parts]


def test_no_secret_is_in_a_file_or_an_argument(first: Lakehouse, cluster: Cluster) -> None:
    secrets = ("keeps", "tests-secret")
    conf = (first.settings.paths.root / "engine" / "spark-defaults.conf").read_text()
    assert "spark.master spark://" in conf
    logs = [path for path in first.settings.paths.logs.rglob("*") if path.is_file()]
    told = [conf, *(path.read_text(errors="replace") for path in logs)]
    told += [
        path.read_bytes().decode(errors="replace")
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists()
    ]
    words = [word for text in told for word in text.replace("=", " ").replace("\0", " ").split()]
    assert not set(words) & set(secrets)


def test_a_second_driver_refuses_before_it_writes(
    first: Lakehouse, cluster: Cluster, tmp_path: Path
) -> None:
    running = engine.running_engine(first.settings)
    assert running
    with _driver(tmp_path / "home", cluster) as second:
        before = _objects()
        answer = run(second, "run", "--once", check=False)
        assert answer.returncode == 1
        assert f"process {running.pid}, since 20" in answer.stderr
        assert len(answer.stderr.splitlines()) == 2  # the start of an engine is told before
        assert _objects() == before
    assert engine.running_engine(first.settings) == running
    assert first.value("select count(*) from audit.loads") > 0


def test_upkeep_works_on_tables_in_storage(first: Lakehouse) -> None:
    before = _gold(first)
    first.maintain()
    assert not [key for key in _objects() if "/landing/" in key and not key.endswith("/")]
    assert _gold(first) == before


def test_another_machine_goes_on_when_the_drivers_lease_is_over(
    first: Lakehouse, cluster: Cluster, files: list[File], tmp_path: Path
) -> None:
    before = _gold(first)
    running = engine.running_engine(first.settings)
    assert running
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: not engine.running_engine(first.settings))
    with _driver(tmp_path / "home", cluster) as second:
        assert run(second, "up", check=False).returncode == 1  # it may still be alive elsewhere
        wait_until(lambda: run(second, "up", check=False).returncode == 0, 3 * lease.SECONDS)
        assert _gold(second) == before
        # What one driver has taken in, the other knows.
        second.deliver_files(file for file in files if not file.is_refused)
        run(second, "run", "--once")
        assert _gold(second) == before
