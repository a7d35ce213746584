"""What a driver of a cluster is told, without one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.engine import Engine, local
from lakehouse.engine.cluster import PASSWORD, environment_of
from lakehouse.engine.jars import CLUSTER_LOCK, LOCK, jars_of, locked_jars
from lakehouse.engine.process import spark_conf
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings, load_settings

CATALOG = "host=db.example port=5433 dbname=catalog user=keeper password=hidden"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HOME": "/as/it/was",
        "TARGET": "cluster",
        "CLUSTER_MASTER": "spark://master.example:7077",
        "CLUSTER_STORAGE": "s3a://bucket/lake/",
        "CLUSTER_CATALOG": CATALOG,
    }.items():
        monkeypatch.setenv(f"LAKEHOUSE_{name}", value)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setattr("os.cpu_count", lambda: 2)


def _conf(settings: Settings) -> dict[str, str]:
    lines = spark_conf(settings, [Path("/a.jar"), Path("/b.jar")]).splitlines()
    return dict(line.split(" ", 1) for line in lines)


def test_what_all_share_is_in_storage_and_what_is_delivered_here(tmp_path: Path) -> None:
    home = load_settings(tmp_path).paths
    shared = {
        str(place) for place in (home.warehouse, home.landing, home.checkpoints, home.archive)
    }
    assert shared == {
        f"s3a://bucket/lake/{name}" for name in ("warehouse", "landing", "checkpoints", "archive")
    }
    assert home.inbox == tmp_path / "inbox"
    assert home.quarantine == tmp_path / "quarantine"
    assert home.memory == tmp_path / "checkpoints"


def test_the_engine_is_told_of_master_catalog_and_storage(tmp_path: Path) -> None:
    conf = _conf(load_settings(tmp_path))
    assert conf["spark.master"] == "spark://master.example:7077"
    assert conf["spark.sql.warehouse.dir"] == "s3a://bucket/lake/warehouse"
    assert conf["spark.jars"] == "/a.jar,/b.jar"
    assert conf["spark.hadoop.fs.s3a.endpoint.region"] == "eu-central-1"
    connection = "spark.hadoop.javax.jdo.option.Connection"
    assert conf[f"{connection}URL"] == "jdbc:postgresql://db.example:5433/catalog"
    assert conf[f"{connection}UserName"] == "keeper"
    assert conf["spark.hadoop.datanucleus.schema.autoCreateTables"] == "true"
    assert not {"spark.driver.host", "spark.driver.bindAddress"} & conf.keys()


def test_the_password_is_told_by_the_environment_alone(tmp_path: Path) -> None:
    settings = load_settings(tmp_path)
    assert "hidden" not in spark_conf(settings, [])
    assert "hidden" not in repr(settings.cluster)
    assert settings.cluster
    assert environment_of(settings.cluster) == {PASSWORD: "hidden"}


def test_a_file_of_properties_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "properties.conf"
    file.write_text("# a comment\n\nspark.driver.host  10.0.0.1\nspark.sql.shuffle.partitions 64\n")
    monkeypatch.setenv("LAKEHOUSE_CLUSTER_PROPERTIES", str(file))
    conf = _conf(load_settings(tmp_path))
    assert conf["spark.driver.host"] == "10.0.0.1"
    assert conf["spark.sql.shuffle.partitions"] == "64"
    # What it does not name is not Spark's own 10,000 tasks, with which VACUUM takes minutes.
    assert conf["spark.sql.sources.parallelPartitionDiscovery.parallelism"] == "2"
    monkeypatch.setenv("LAKEHOUSE_CLUSTER_PROPERTIES", str(tmp_path / "none"))
    with pytest.raises(LakehouseError, match="Correct LAKEHOUSE_CLUSTER_PROPERTIES") as error:
        _conf(load_settings(tmp_path))
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"# one\nspark.executor.memory=4g\n", "line 2: spark.executor.memory=4g has no value"),
        (b"spark.app.name caf\xe9\n", "it is not UTF-8"),
    ],
)
def test_properties_that_cannot_be_read_are_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: bytes, told: str
) -> None:
    file = tmp_path / "properties.conf"
    file.write_bytes(text)
    monkeypatch.setenv("LAKEHOUSE_CLUSTER_PROPERTIES", str(file))
    with pytest.raises(LakehouseError, match=told) as error:
        _conf(load_settings(tmp_path))
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["MASTER", "STORAGE", "CATALOG"])
def test_what_is_not_set_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(f"LAKEHOUSE_CLUSTER_{name}")
    with pytest.raises(LakehouseError, match=f"Target cluster needs LAKEHOUSE_CLUSTER_{name}"):
        load_settings(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_TARGET", "local")
    assert load_settings(tmp_path).paths.warehouse == tmp_path / "warehouse"


def test_another_storage_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_CLUSTER_STORAGE", "hdfs://a/b")
    with pytest.raises(LakehouseError, match="LAKEHOUSE_CLUSTER_STORAGE=hdfs://a/b: ") as error:
        load_settings(tmp_path)
    assert error.value.exit_code == 2


def test_a_catalog_that_is_no_address_is_told_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_CLUSTER_CATALOG", "password=hidden nonsense")
    with pytest.raises(LakehouseError, match="LAKEHOUSE_CLUSTER_CATALOG is no address") as error:
        _conf(load_settings(tmp_path))
    assert "hidden" not in str(error.value)


def test_a_home_is_of_one_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(tmp_path)
    running = Engine(1, settings.port, settings.port + 1, "2026-11-30T21:00:00+00:00")
    monkeypatch.setattr(local, "up", lambda _: running)
    with pytest.raises(LakehouseError, match="is up for target local, and cluster is asked for"):
        local.start(settings)


def test_only_a_cluster_needs_its_jars() -> None:
    assert jars_of("local") == locked_jars(LOCK)
    more = locked_jars(CLUSTER_LOCK)
    assert jars_of("cluster") == locked_jars(LOCK) + more
    # What Spark ships in another version would come before its own.
    assert not {jar.group for jar in more} & {"io.netty", "org.slf4j", "commons-codec"}


def test_an_engine_ends_that_wakes_up_when_its_lease_is_over() -> None:
    """Two minutes passed while the machine slept, which the clock of the process does not tell."""
    code = """
import itertools, sys, time
from unittest import mock
from lakehouse.engine import lease
database = mock.MagicMock()
database.__enter__.return_value.execute.return_value.rowcount = 1
lease._connect = lambda _: database
seconds = itertools.chain([0.0, 0.0], itertools.repeat(120.0))
time.clock_gettime = lambda _: next(seconds)
sys.exit(lease.Keeper("", "").run(["sleep", "5"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "The lease could not be renewed: the engine ends.\n"
    assert done.returncode
