"""A Spark cluster on one machine, of real parts: a master, workers, a catalog and storage.

Each is a process of its own on the loopback address, and ends with the block.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import boto3
import psutil

from lakehouse.engine.jars import fetch_jars, jars_of, spark_home
from lakehouse.engine.java import require_java
from tests.support.postgres import Server, running_server

HOST = "127.0.0.1"
WORKERS = 2
STORAGE = "s3a://lakehouse/shared"
# Of the storage and of the catalog.
SECRETS = ("secret-of-storage", "secret-of-catalog")
_SECONDS = 60
_KEYS = {
    "AWS_ACCESS_KEY_ID": "tests",
    "AWS_SECRET_ACCESS_KEY": SECRETS[0],
    "AWS_REGION": "us-east-1",
}
_PROPERTIES = f"""\
# All is on the loopback address.
spark.driver.host {HOST}
spark.driver.bindAddress {HOST}
spark.hadoop.fs.s3a.path.style.access true
spark.sql.shuffle.partitions {WORKERS}
spark.databricks.delta.snapshotPartitions {WORKERS}
spark.executor.memory 1g
"""


class Cluster:
    """The parts, and what a driver has to be told of them.

    Attributes:
        catalog: The server with the catalog's database.
        folder: Where its processes write, with their logs.
    """

    def __init__(self, folder: Path, catalog: Server, storage: dict[str, str]) -> None:
        self.catalog = catalog
        self._storage = storage
        self.folder = folder
        self._java = require_java()
        fetch_jars(self._java, jars_of("cluster"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._workers: list[subprocess.Popen[bytes]] = []
        self._master, web = _free_ports(2)
        with catalog.connect() as database:
            database.execute(f"create role keeper login password '{SECRETS[1]}'")
            database.execute("create database catalog owner keeper")
        self._spark(
            "master", "master.Master", "--port", str(self._master), "--webui-port", str(web)
        )
        _wait_for(self._master)
        for _ in range(WORKERS):
            self.start_worker()
        (folder / "spark-defaults.conf").write_text(_PROPERTIES)

    @property
    def environment(self) -> dict[str, str]:
        """What a driver has to have in its environment."""
        return self._storage | {
            "LAKEHOUSE_TARGET": "cluster",
            "LAKEHOUSE_CLUSTER_MASTER": f"spark://{HOST}:{self._master}",
            "LAKEHOUSE_CLUSTER_STORAGE": STORAGE,
            "LAKEHOUSE_CLUSTER_CATALOG": (
                f"host={HOST} port={self.catalog.port} dbname=catalog "
                f"user=keeper password={SECRETS[1]}"
            ),
            "LAKEHOUSE_CLUSTER_PROPERTIES": str(self.folder / "spark-defaults.conf"),
            "LAKEHOUSE_DRIVER_MEMORY": "2g",
        }

    def start_worker(self) -> None:
        """One core and memory for one executor of 1 GiB."""
        number, web = len(self._workers), _free_ports(1)[0]
        self._workers.append(
            self._spark(
                f"worker-{number}",
                "worker.Worker",
                *("--webui-port", str(web), "--cores", "1", "--memory", "1g"),
                *("--work-dir", str(self.folder / f"work-{number}")),
                f"spark://{HOST}:{self._master}",
            )
        )

    def executors(self) -> list[psutil.Process]:
        """What does the work: the executors of all workers."""
        workers = [psutil.Process(worker.pid) for worker in self._workers]
        return [process for worker in workers for process in worker.children(recursive=True)]

    def add_properties(self, lines: str) -> None:
        """Properties of the drivers that start from now on."""
        with (self.folder / "spark-defaults.conf").open("a") as file:
            file.write(lines)

    def kill_worker(self) -> None:
        """As a machine that is gone: a worker and its executors, without a word."""
        worker = self._workers.pop()
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()

    def stop(self) -> None:
        for process in reversed(self._processes):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _spark(self, name: str, role: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(spark_home() / "bin" / "spark-class"), f"org.apache.spark.deploy.{role}"]
        return self._start(name, [*command, "--host", HOST, *arguments])

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={
                    **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
                    "JAVA_HOME": str(self._java.home),
                    "SPARK_HOME": str(spark_home()),
                    "SPARK_DAEMON_MEMORY": "256m",
                    "SPARK_LOCAL_IP": HOST,
                    "LC_ALL": "C.UTF-8",
                },
                stdout=log,
                stderr=log,
                start_new_session=True,  # a worker's executors are of its group
            )
        self._processes.append(process)
        return process


@contextmanager
def running_storage(log: Path) -> Iterator[dict[str, str]]:
    """S3-compatible storage with the bucket of `STORAGE`, in memory.

    Yields:
        What a client has to have in its environment.
    """
    [port] = _free_ports(1)
    keys = _KEYS | {"AWS_ENDPOINT_URL": f"http://{HOST}:{port}"}
    script = Path(sys.executable).with_name("moto_server")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [script, "-H", HOST, "-p", str(port)], stdout=output, stderr=output
        )
    try:
        _wait_for(port)
        with environment(keys):
            boto3.client("s3").create_bucket(Bucket=STORAGE.split("/")[2])
        yield keys
    finally:
        process.kill()
        process.wait()


@contextmanager
def running_cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster that ends with the block; its processes log into the folder."""
    with running_server() as catalog, running_storage(folder / "storage.log") as storage:
        cluster = Cluster(folder, catalog, storage)
        try:
            yield cluster
        finally:
            cluster.stop()


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Sets variables for the block; what was set before is set again after it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _wait_for(port: int) -> None:
    until = time.monotonic() + _SECONDS
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        assert time.monotonic() < until, f"nothing listens on port {port}"
        time.sleep(0.1)
