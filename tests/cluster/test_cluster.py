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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from lakehouse import engine, maintenance
from lakehouse.engine import lease, local
from lakehouse.settings import PROJECT
from tests.support.cluster import SECRETS, Cluster, environment
from tests.support.domains import DOMAINS, File, selected
from tests.support.lakehouse import Lakehouse, home_of_its_own, run, wait_until

STORIES: dict[str, dict[str, Any]] = {
    "wearables": {"minutes": 30, "users": 4, "late": 0.1, "duplicates": 0.1, "corrupt": 0.005},
    "network": {"minutes": 15, "servers": 2, "customers": 8, "late": 0.1, "duplicates": 0.1},
    "retail": {"minutes": 10, "days": 5, "customers": 12, "late": 0.1, "duplicates": 0.1},
}
SEED = 5
# Accounts that say how many events came, were taken and were not.
ACCOUNTS = ("audit.rejects", "audit.unmatched", "audit.conflicts")


@pytest.fixture(scope="module")
def files() -> list[File]:
    return [file for name, story in STORIES.items() for file in DOMAINS[name].files(SEED, story)]


@contextmanager
def _driver(home: Path, cluster: Cluster | None = None) -> Iterator[Lakehouse]:
    """A lakehouse whose engine ends with the block, on this machine alone or on the cluster."""
    told = cluster.environment if cluster else {"LAKEHOUSE_TARGET": "local"}
    with environment(told), home_of_its_own(home) as settings:
        yield Lakehouse(settings, tuple(STORIES))


def _gold(lakehouse: Lakehouse) -> dict[str, list[dict[str, Any]]]:
    """The rows of all that is in `gold`."""
    names = tuple(row["tableName"] for row in lakehouse.rows("show tables in gold"))
    assert len(names) >= sum(len(DOMAINS[name].marts) for name in STORIES)
    return lakehouse.gold("gold", names)


def _accounts(lakehouse: Lakehouse) -> list[dict[str, Any]]:
    """What came of files, and how many rows each account has, whatever the number of the load."""
    counts = " union all ".join(
        f"select '{name}' as what, count(*) as num_rows from {name}" for name in ACCOUNTS
    )
    return lakehouse.rows(
        "select concat_ws(' ', source, status) as what, count(*) as num_rows from audit.files "
        f"group by source, status union all {counts} order by what"
    )


@pytest.fixture(scope="module")
def of_the_local_engine(
    files: list[File], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Gold and accounts of the local engine, to which all came at once."""
    with _driver(tmp_path_factory.mktemp("local") / "home") as lakehouse:
        lakehouse.deliver_files(files)
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


@pytest.fixture(scope="module")
def of_the_cluster(
    first: Lakehouse, cluster: Cluster, files: list[File]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Gold and accounts of the cluster, which lost a worker while the second half was built."""
    first.deliver_files(files[::2])
    first.ingest()
    first.build_untested()
    first.deliver_files(files[1::2])
    first.ingest()
    log = first.settings.paths.logs / "killed.log"
    with log.open("wb") as output:
        build = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("dbt"), "build", "--target", "cluster"),
                *("--exclude-resource-type", "unit_test", *selected(*STORIES)),
                *("--target-path", first.settings.paths.root / "bare"),
            ],
            cwd=PROJECT,
            stdout=output,
            stderr=output,
        )
    wait_until(
        lambda: "OK created sql incremental" in log.read_text() or build.poll() is not None, 300
    )
    assert build.poll() is None, log.read_text()[-3000:]
    cluster.kill_worker()
    assert build.wait() == 0, log.read_text()[-3000:]
    return _gold(first), _accounts(first)


@pytest.mark.parametrize("name", STORIES)
def test_a_build_ends_right_although_a_worker_is_killed(
    first: Lakehouse, of_the_cluster: tuple[dict[str, Any], list[dict[str, Any]]], name: str
) -> None:
    gold, _ = of_the_cluster
    domain = DOMAINS[name]
    expected = domain.answers(domain.files(SEED, STORIES[name]))
    for mart in (*domain.marts, *domain.live):
        told = sorted(expected[mart], key=repr)
        assert told, mart
        columns = told[0].keys()
        assert sorted(({of: row[of] for of in columns} for row in gold[mart]), key=repr) == told
    assert first.miscounts(expected, domain.accepted, domain.rejects) == []


@pytest.mark.usefixtures("of_the_cluster")
def test_all_is_in_storage_and_nothing_of_it_on_the_drivers_disk(first: Lakehouse) -> None:
    folders = {key.split("/")[1] for key in _objects()}
    assert {"warehouse", "landing", "checkpoints"} <= folders
    root = first.settings.paths.root
    assert not (root / "warehouse").exists()
    assert not (root / "landing").exists()
    assert not list((root / "metastore").rglob("*"))
    assert not [path for path in root.rglob("*.parquet") if "inbox" not in path.parts]


@pytest.mark.usefixtures("of_the_cluster")
def test_no_secret_is_in_a_file_or_an_argument(first: Lakehouse, cluster: Cluster) -> None:
    root = first.settings.paths.root
    told = {"engine/spark-defaults.conf": (root / "engine" / "spark-defaults.conf").read_text()}
    assert "spark.master spark://" in told["engine/spark-defaults.conf"]
    for folder in (root / "logs", cluster.folder):
        for path in folder.rglob("*"):
            if path.is_file():
                told[str(path)] = path.read_text(errors="replace")
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess):
            told[str(process)] = " ".join(process.cmdline())
    assert any("HiveThriftServer2" in text for text in told.values())
    for secret in SECRETS:
        assert [where for where, text in told.items() if secret in text] == []


@pytest.mark.usefixtures("of_the_cluster")
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


@pytest.mark.usefixtures("of_the_cluster")
def test_upkeep_works_on_tables_in_storage(first: Lakehouse) -> None:
    before = _gold(first)
    spark = local.session(first.settings)
    for table in ("bronze.sbit_kafka_multiplex", "gold_build.gym_visits"):
        old = {key for key in _objects() if key.endswith(".parquet") and _is_of(table, key)}
        done = maintenance.keep_up(spark, table, retain_hours=0)
        kept = {key for key in _objects() if key.endswith(".parquet") and _is_of(table, key)}
        assert done.removed == len(old - kept)
        assert len(old - kept) > 0
    assert first.forget_files() > 0
    assert not [key for key in _objects() if "/landing/" in key and not key.endswith("/")]
    assert _gold(first) == before


def _is_of(table: str, key: str) -> bool:
    schema, name = table.split(".")
    return f"/{schema}.db/{name}/" in key and "/_delta_log/" not in key


@pytest.mark.usefixtures("of_the_cluster")
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
        num_rows = second.value("select count(*) from bronze.sbit_gym_logins")
        second.deliver_files(file for file in files if file.table == "sbit.gym_logins")
        run(second, "ingest", "--once")
        assert second.value("select count(*) from bronze.sbit_gym_logins") == num_rows > 0


def test_gold_is_the_local_engines_row_for_row(
    of_the_cluster: tuple[dict[str, Any], list[dict[str, Any]]],
    of_the_local_engine: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    (gold, accounts), (of_local, accounts_of_local) = of_the_cluster, of_the_local_engine
    assert gold.keys() == of_local.keys()
    assert {mart for mart in gold if gold[mart] != of_local[mart]} == set()
    assert accounts == accounts_of_local
