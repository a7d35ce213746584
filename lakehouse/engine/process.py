"""The engine's process: a JVM with a Thrift and a Spark Connect server on the loopback address.

One JVM owns the warehouse, because Delta on a local disk keeps writers apart only inside one. The
JVM itself holds the lock on the home (an inherited file descriptor), so a dead engine's lock frees
itself.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from lakehouse.engine import lease
from lakehouse.engine.cluster import conf_of, environment_of
from lakehouse.engine.jars import spark_home, verified_jars
from lakehouse.engine.java import require_java
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Engine:
    """A running engine: its process, its two ports, and when it was started (UTC, ISO 8601).

    Its process is the JVM; on a cluster, the keeper of the lease with which the JVM ends.
    """

    pid: int
    thrift_port: int
    connect_port: int
    started_at: str
    target: str = "local"

    @property
    def identity(self) -> str:
        """What tells this run of the engine from every other on this machine."""
        return f"{self.started_at} {self.pid}"

    @property
    def remote(self) -> str:
        """The address for Spark Connect clients."""
        return f"sc://{HOST}:{self.connect_port}"


def running_engine(settings: Settings) -> Engine | None:
    """The engine that owns this home, if there is one and it answers."""
    engine = _holder(settings)
    return engine if engine and _answers(engine) else None


def up(settings: Settings) -> Engine:
    """Starts the engine if it is not up, and waits until it answers.

    Raises:
        LakehouseError: Java or a jar is missing, a port is taken, another process holds the home,
            or the engine did not start in time.
    """
    if engine := running_engine(settings):
        return engine
    home = settings.paths
    for folder in (home.tables_here, home.metastore, home.logs, _folder(settings)):
        if folder:
            _make(folder)
    lock = os.open(_lock_file(settings), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _wait_for_other(settings)
        _record(settings).unlink(missing_ok=True)  # a dead engine's: nobody may take it for ours
        engine, process = _start(settings, lock)
    finally:
        os.close(lock)
    _wait(settings, engine, process)
    return engine


def down(settings: Settings) -> bool:
    """Stops the engine; says whether there was one.

    Raises:
        LakehouseError: The engine does not end.
    """
    engine = _holder(settings)
    if engine is None:
        return False
    for sign, seconds in ((signal.SIGTERM, 30), (signal.SIGKILL, 10)):
        with suppress(ProcessLookupError):
            os.kill(engine.pid, sign)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not _is_locked(settings):
                _record(settings).unlink(missing_ok=True)
                return True
            time.sleep(0.1)
    raise LakehouseError(f"The engine (process {engine.pid}) does not end. Stop it by hand.")


def _folder(settings: Settings) -> Path:
    return settings.paths.root / "engine"


def _scratch(settings: Settings) -> Path:
    return settings.paths.root / "scratch"


def _lock_file(settings: Settings) -> Path:
    return _folder(settings) / "lock"


def _record(settings: Settings) -> Path:
    return _folder(settings) / "engine.json"


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakehouseError(
            f"{folder} cannot be made: {error.strerror}. Point LAKEHOUSE_HOME at a folder that "
            "you may write to."
        ) from None


def _is_locked(settings: Settings) -> bool:
    try:
        lock = os.open(_lock_file(settings), os.O_RDWR)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _holder(settings: Settings) -> Engine | None:
    if not _is_locked(settings):
        return None
    with suppress(FileNotFoundError, ValueError, TypeError):
        return Engine(**json.loads(_record(settings).read_text()))
    return None


def _answers(engine: Engine) -> bool:
    return all(_listens(port) for port in (engine.thrift_port, engine.connect_port))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _wait_for_other(settings: Settings) -> Engine:
    """Another process has just begun to start the engine of this home: wait for that one."""
    deadline = time.monotonic() + settings.start_seconds
    while time.monotonic() < deadline:
        if engine := running_engine(settings):
            return engine
        if not _is_locked(settings):
            return up(settings)
        time.sleep(0.2)
    holder = _holder(settings)
    name = f"process {holder.pid} since {holder.started_at}" if holder else "another process"
    raise LakehouseError(
        f"{settings.paths.root} is held by {name}, which does not answer. "
        "Stop it with: lakehouse down"
    )


def _start(settings: Settings, lock: int) -> tuple[Engine, subprocess.Popen[bytes]]:
    java = require_java()
    jars = verified_jars(settings.target)
    for port in (settings.port, settings.port + 1):
        if _listens(port):
            raise LakehouseError(
                f"Port {port} is taken by another program. Choose another pair of ports with "
                "LAKEHOUSE_THRIFT_PORT."
            )
    shutil.rmtree(_scratch(settings), ignore_errors=True)  # a killed engine's leavings
    for name in ("tmp", "hive-local"):  # nobody else makes these two
        _make(_scratch(settings) / name)
    conf = spark_conf(settings, jars)
    (_folder(settings) / "spark-defaults.conf").write_text(conf, encoding="utf-8")
    (_folder(settings) / "log4j2.properties").write_text(_LOG4J)
    env = {**os.environ, **_of_cluster(settings)} | {
        "JAVA_HOME": str(java.home),
        "SPARK_HOME": str(spark_home()),
        "SPARK_CONF_DIR": str(_folder(settings)),
        **({} if settings.cluster else {"SPARK_LOCAL_IP": HOST}),
        "TZ": "UTC",
        "LC_ALL": "C.UTF-8",  # or the JVM cannot read names that are not ASCII
    }
    command = [
        str(spark_home() / "bin" / "spark-submit"),
        *("--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"),
        "spark-internal",
        *("--hiveconf", f"hive.server2.thrift.port={settings.port}"),
        *("--hiveconf", f"hive.server2.thrift.bind.host={HOST}"),
        *("--hiveconf", "hive.server2.authentication=NOSASL"),
        # The pool fills up with new threads before it uses one again, and each one's first look at
        # the metastore parses all of Hive's configuration: a fifth of the CPU of small statements.
        *("--hiveconf", "hive.server2.async.exec.threads=16"),
        *("--hiveconf", "hive.server2.async.exec.keepalive.time=1h"),
        # Or each session is a user of its own, for whom each thread looks at the metastore anew.
        *("--hiveconf", "hive.server2.enable.doAs=false"),
        # A file for each statement, which lasts as long as a BI tool's session; nobody reads it.
        *("--hiveconf", "hive.server2.logging.operation.enabled=false"),
    ]
    if settings.cluster:
        command = [sys.executable, "-m", "lakehouse.engine.lease", str(lock), *command]
    log_file = settings.paths.logs / "engine.log"
    with suppress(FileNotFoundError):  # or, were it full, log4j would leave the JVM's words in it
        log_file.replace(log_file.with_name("engine.log.1"))
    with log_file.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=settings.paths.logs,  # where Derby and a crash write, and log4j by _LOG4J
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[lock],
            start_new_session=True,
        )
    engine = Engine(
        pid=process.pid,
        thrift_port=settings.port,
        connect_port=settings.port + 1,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        target=settings.target,
    )
    _record(settings).write_text(json.dumps(asdict(engine)))
    return engine, process


def _of_cluster(settings: Settings) -> dict[str, str]:
    """What the engine of a cluster is told besides, once it has the right to start.

    Raises:
        LakehouseError: Another driver works on the cluster's tables.
    """
    if not (cluster := settings.cluster):
        return {}
    address = cluster.catalog.get_secret_value()
    return environment_of(cluster) | {lease.ADDRESS: address, lease.TOKEN: lease.take(address)}


def _wait(settings: Settings, engine: Engine, process: subprocess.Popen[bytes]) -> None:
    log = settings.paths.logs / "engine.log"
    deadline = time.monotonic() + settings.start_seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LakehouseError(f"The engine ended while it started. The reason is in {log}")
        if _answers(engine):
            return
        time.sleep(0.2)
    down(settings)
    raise LakehouseError(
        f"The engine did not answer within {settings.start_seconds} s (LAKEHOUSE_START_SECONDS). "
        f"Its log is {log}"
    )


def spark_conf(settings: Settings, jars: list[Path]) -> str:
    """The engine's settings, a line each, as `spark-defaults.conf` has them."""
    home = settings.paths
    cores = os.cpu_count() or 2
    scratch = _scratch(settings)
    conf: dict[str, object] = {
        "spark.master": f"local[{cores}]",
        "spark.app.name": "lakehouse",
        "spark.driver.memory": settings.driver_memory,
        # The system's own temporary folder is emptied by the system, of what is weeks old.
        "spark.driver.extraJavaOptions": (
            f'-Duser.timezone=UTC "-Djava.io.tmpdir={scratch / "tmp"}" {_JAVA_OPTIONS}'
        ),
        # `spark.jars` would do for Connect, but sessions of the Thrift server do not see those.
        "spark.driver.extraClassPath": os.pathsep.join(str(jar) for jar in jars),
        "spark.plugins": "org.apache.spark.sql.connect.SparkConnectPlugin",
        "spark.connect.grpc.binding.address": HOST,
        "spark.connect.grpc.binding.port": settings.port + 1,
        # A notebook left alone for an hour, which is the default, would have lost its session. Not
        # for ever, since those whose client was killed are never given up.
        "spark.connect.session.manager.defaultSessionTimeout": "7d",
        "spark.driver.host": HOST,
        "spark.driver.bindAddress": HOST,
        "spark.ui.enabled": "false",
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": home.warehouse,
        "spark.hadoop.javax.jdo.option.ConnectionURL": (
            f"jdbc:derby:;databaseName={home.metastore / 'derby'};create=true"
        ),
        "spark.hadoop.hive.exec.scratchdir": scratch / "hive",
        "spark.hadoop.hive.exec.local.scratchdir": scratch / "hive-local",
        # A folder a session: Hive makes it when the session opens and removes it when it closes.
        "spark.hadoop.hive.downloaded.resources.dir": scratch / "${hive.session.id}_resources",
        "spark.hadoop.hive.querylog.location": scratch / "hive-queries",
        "spark.local.dir": scratch,
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.variable.substitute": "false",  # a delivered "${...}" is text
        # Small work is dominated by these two when they keep their defaults of 200 and 50.
        "spark.sql.shuffle.partitions": cores,
        "spark.databricks.delta.snapshotPartitions": cores,
        # A checkpoint of a log takes half a second: of every tenth commit it would be too often.
        "spark.databricks.delta.properties.defaults.checkpointInterval": 100,
        # Delta does not know which versions are read; `lakehouse.maintenance` does, and cleans.
        "spark.databricks.delta.properties.defaults.enableExpiredLogCleanup": "false",
        # `lakehouse.maintenance` has a guard of its own, which knows what is read.
        "spark.databricks.delta.retentionDurationCheck.enabled": "false",
        # Two commits, also where nothing was removed, which readers of a change feed would look at.
        "spark.databricks.delta.vacuum.logging.enabled": "false",
        # Delta answers `min(date)` of a whole table from its log, but with the dates of another
        # interface than Spark Connect's, and fails (4.4.0).
        "spark.databricks.delta.optimizeMetadataQuery.enabled": "false",
        # So small that a merge which updates a file rewrites little.
        "spark.databricks.delta.optimize.minFileSize": 16 * 1024**2,
        "spark.databricks.delta.optimize.maxFileSize": 32 * 1024**2,
        # Else every field that is taken from a line of JSON parses the line anew.
        "spark.sql.optimizer.enableJsonExpressionOptimization": "false",
        # A build generates more pieces of code than the 100 that Spark would keep compiled.
        "spark.sql.codegen.cache.maxEntries": 2000,
        "spark.sql.parquet.compression.codec": "zstd",
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": cores,
    }
    if settings.cluster:
        conf = conf_of(conf, settings.cluster, jars, home.warehouse)
    return "".join(f"{key} {value}\n" for key, value in conf.items())


# Each statement brings code of its own, which the second compiler would optimise for longer than
# it runs: at Java's thresholds a third of the CPU of small work. Ten times as many calls first.
_JAVA_OPTIONS = (
    "-XX:+UseParallelGC -XX:Tier4InvocationThreshold=50000 -XX:Tier4MinInvocationThreshold=6000 "
    "-XX:Tier4CompileThreshold=150000 -XX:Tier4BackEdgeThreshold=400000 "
    "-XX:ReservedCodeCacheSize=512m"
)
if sys.platform == "linux":
    # Parsing a line allocates kilobytes, which with larger pages takes less CPU.
    _JAVA_OPTIONS += " -XX:+UseTransparentHugePages"

# What the JVM itself prints goes to the same file, or to one that it was before.
_LOG4J = """\
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = engine.log
appender.file.filePattern = engine.log.%i
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd HH:mm:ss} %p %c{1}: %m%n%ex
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10 MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.fileIndex = min
appender.file.strategy.max = 5
# These two warn at each statement, of nothing.
logger.dag.name = org.apache.spark.scheduler.DAGScheduler
logger.dag.level = error
logger.hive.name = org.apache.hadoop.hive.conf.HiveConf
logger.hive.level = error
"""
