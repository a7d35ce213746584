"""The measures of the benchmark, one function a letter; each makes and removes its own homes."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow.parquet as pq
from dbt.adapters.spark.connections import PyhiveConnectionWrapper

from benchmarks import multiplied
from generators.network import story as network
from generators.retail import story as retail
from generators.retail.tables import CUSTOMERS, PRODUCTS, STOCK_LEVELS
from ingestion.loads import Load, Loads, only_ingestion
from lakehouse import engine
from lakehouse.build import BUILD_UNTESTED, Dbt
from lakehouse.engine import local
from lakehouse.maintenance import keep_up
from lakehouse.settings import PROJECT, Settings, load_settings
from tests.support.domains import DOMAINS, selected
from tests.support.lakehouse import Lakehouse, plain
from tests.support.set_1 import SET_1_FILES

FIRST_DAY = date(2024, 1, 1)
READINGS_OF_BATCH = 10_000
# Of so many a day is some 10,000 rows.
CUSTOMERS_OF_SHOP = 7_000
KNOWN_OF_SHOP = {CUSTOMERS, PRODUCTS, STOCK_LEVELS}
MULTIPLES = (1, 4, 16, 64)
BASE_DAYS = 4


class Workload(NamedTuple):
    """What is measured of a domain.

    Attributes:
        domain: The domain.
        write: Writes `<table>/<file>` into a folder, all that a full refresh is measured with.
        write_days: Writes into a folder so many days of history, and with each further step the
            day after.
        peer: The module that has its full refresh in DuckDB.
    """

    domain: str
    write: Callable[[Path], object]
    write_days: Callable[[Path, int], Iterator[object]]
    peer: str


def _days_of_wearables(folder: Path, days: int) -> Iterator[object]:
    yield multiplied.write_days(folder, FIRST_DAY, days, READINGS_OF_BATCH)
    for day in count(days):
        yield multiplied.write_days(folder, FIRST_DAY + timedelta(days=day), 1, READINGS_OF_BATCH)


def _days_of_shop(folder: Path, days: int) -> Iterator[object]:
    """Of one long history all that is known, and what happened on its last days.

    So the further days are the same for all. They lie where prices, categories and customers
    change, and are no days of the future.
    """
    longest = BASE_DAYS * MULTIPLES[-1]
    start = datetime(2024, 1, 1, 6, tzinfo=UTC)
    sets = retail.sets(1, days=400, customers=CUSTOMERS_OF_SHOP, start=start)
    for number, told in enumerate(islice(sets, longest + 1)):
        is_left_out = 0 < number <= longest - days
        kept = KNOWN_OF_SHOP if is_left_out else told.files.keys()
        _write(folder, {table: told.files[table] for table in kept & told.files.keys()})
    yield
    for told in sets:
        yield _write(folder, told.files)


def _shop(folder: Path) -> None:
    for told in retail.sets(1, days=40, minutes=5, customers=5 * CUSTOMERS_OF_SHOP):
        _write(folder, told.files)


def _write(folder: Path, files: Mapping[str, Mapping[str, bytes]]) -> None:
    for table, named in files.items():
        for name, content in named.items():
            path = folder / table / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


WEARABLES = Workload(
    "wearables",
    lambda folder: multiplied.write(folder, 5_000_000),
    _days_of_wearables,
    "benchmarks.duckdb_pipeline",
)
SHOP = Workload("retail", _shop, _days_of_shop, "benchmarks.duckdb_retail")


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of processors: of this process and the engine together."""

    wall: float
    cpu: float


class MeasuredLakehouse(Lakehouse):
    """A lakehouse that takes in and builds what is measured, and tells what that costs."""

    def __init__(self, settings: Settings, domain: str) -> None:
        super().__init__(settings, (domain,))
        self._engine = psutil.Process(local.start(settings).pid)

    def ingest(self) -> Load:
        """Takes in what waits, and something does."""
        load = super().ingest()
        if load is None or load.failures:
            raise RuntimeError("; ".join(load.failures) if load else "nothing waits")
        return load

    def build(self, *options: str) -> None:
        """Builds the domain without its tests, which would be timed too."""
        super().build("--exclude-resource-type", "test", *options)

    def from_inbox_to_gold(self) -> None:
        """Takes in what waits, and builds."""
        self.ingest()
        self.build()

    def cost(self, work: Callable[[], object]) -> Cost:
        """What some work costs."""
        began, cpu = time.monotonic(), self._cpu()
        work()
        return Cost(time.monotonic() - began, self._cpu() - cpu)

    def memory_mb(self, *pids: int) -> int:
        """What the engine and other processes hold."""
        held = self._engine.memory_info().rss
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                held += psutil.Process(pid).memory_info().rss
        return held // 2**20

    def _cpu(self) -> float:
        of_engine = self._engine.cpu_times()
        return time.process_time() + of_engine.user + of_engine.system


@contextmanager
def empty_lakehouse(domain: str = "wearables") -> Iterator[MeasuredLakehouse]:
    """An empty lakehouse of a domain, with its engine up."""
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        settings = load_settings(Path(folder))
        try:
            yield MeasuredLakehouse(settings, domain)
        finally:
            engine.down(settings)


def throughput(work: Workload, runs: int = 3) -> dict[str, Any]:
    """(a, i) From files to gold, against DuckDB to the same rows; ours is warm."""
    marts = DOMAINS[work.domain].marts
    with tempfile.TemporaryDirectory() as folder, empty_lakehouse(work.domain) as lakehouse:
        files = Path(folder)
        work.write(files)
        ingestions, builds = [], []
        for _ in range(runs + 1):
            lakehouse.empty()
            shutil.copytree(files, lakehouse.settings.paths.inbox, dirs_exist_ok=True)
            ingestions.append(lakehouse.cost(lakehouse.ingest))
            builds.append(lakehouse.cost(lakehouse.build))
        held = {mart: plain(lakehouse.rows(f"select * from gold_build.{mart}")) for mart in marts}
        num_rows = sum(
            lakehouse.value(f"select count(*) from bronze.{folder.name.replace('.', '_')}")
            for folder in files.iterdir()
        )
        engine.down(lakehouse.settings)
        tables = lakehouse.settings.paths.root / "duckdb"
        theirs = [_told(work.peer, files, "--to", tables) for _ in range(runs)]
        for mart in marts:
            rows = pq.read_table(tables / "gold" / f"{mart}.parquet").to_pylist()
            if held[mart] != plain(rows):
                raise RuntimeError(f"{mart} is not the same in both; nothing to compare")
    duckdb_cpu = statistics.median(run["cpu_s"] for run in theirs)
    # The first run warms up.
    of_ingestion, of_build = (_median(costs[1:], "cpu") for costs in (ingestions, builds))
    return {
        "rows": num_rows,
        "ingestion_cpu_s": _round(of_ingestion),
        "ingestion_wall_s": _round(_median(ingestions[1:], "wall")),
        "build_cpu_s": _round(of_build),
        "build_wall_s": _round(_median(builds[1:], "wall")),
        "duckdb_cpu_s": _round(duckdb_cpu),
        "duckdb_wall_s": _round(statistics.median(run["wall_s"] for run in theirs)),
        "times_duckdb_cpu": _round((of_ingestion + of_build) / duckdb_cpu),
    }


def history(
    work: Workload, multiples: tuple[int, ...] = MULTIPLES, runs: int = 3
) -> dict[str, Any]:
    """(b, j) The same batch, a day of the domain, on ever longer histories."""
    found: dict[str, Any] = {}
    for multiple in multiples:
        with empty_lakehouse(work.domain) as lakehouse:
            days = BASE_DAYS * multiple
            further_days = work.write_days(lakehouse.settings.paths.inbox, days)
            next(further_days)
            load = lakehouse.ingest()
            lakehouse.build()
            costs = []
            for _ in range(runs + 1):  # the first one warms up what a full build does not
                next(further_days)
                costs.append(lakehouse.cost(lakehouse.from_inbox_to_gold))
            found[f"x{multiple}"] = {
                "days": days,
                "rows": sum(source.rows for source in load.sources),
                "cpu_s": _round(_median(costs[1:], "cpu")),
                "wall_s": _round(_median(costs[1:], "wall")),
            }
    first, last = found[f"x{multiples[0]}"], found[f"x{multiples[-1]}"]
    return found | {
        "cost_ratio_cpu": _round(last["cpu_s"] / first["cpu_s"]),
        "cost_ratio_wall": _round(last["wall_s"] / first["wall_s"]),
    }


def bytes_per_event(days: int = 10) -> dict[str, Any]:
    """(e) What an event takes on disk, a load a day, and what upkeep leaves behind."""
    compressed = 0
    with empty_lakehouse() as lakehouse:
        inbox = lakehouse.settings.paths.inbox
        for day in range(days):
            multiplied.write_days(inbox, FIRST_DAY + timedelta(days=day), 1, READINGS_OF_BATCH)
            raw = (inbox / "sbit.kafka_multiplex").rglob("*")
            compressed += sum(_compressed_size(path) for path in raw if path.is_file())
            lakehouse.ingest()
            lakehouse.build()
        spark = local.session(lakehouse.settings)
        found: dict[str, Any] = {}
        tables = {"bronze": "bronze.sbit_kafka_multiplex", "silver": "silver.int_readings"}
        for name, table in tables.items():
            keep_up(spark, table)
            [detail] = lakehouse.rows(f"describe detail {table}")
            [[num_rows]] = [row.values() for row in lakehouse.rows(f"select count(*) from {table}")]
            folder = Path(detail["location"].removeprefix("file:"))
            on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            found[f"{name}_bytes_per_event"] = _round(detail["sizeInBytes"] / num_rows)
            found[f"{name}_on_disk_to_live"] = _round(on_disk / detail["sizeInBytes"])
            if name == "bronze":
                found["raw_gzip_bytes_per_event"] = _round(compressed / num_rows)
                found["bronze_beyond_raw"] = _round((detail["sizeInBytes"] - compressed) / num_rows)
    return found


def what_dbt_adds(rounds: int = 10) -> dict[str, Any]:
    """(d) The builds of a domain through dbt, and of that their statements alone."""
    with empty_lakehouse() as lakehouse:
        home = lakehouse.settings.paths
        sets = list(network.sets(1, minutes=3, every=5.0))
        half = len(sets) // 2
        with only_ingestion(home):
            loads = Loads(local.session(lakehouse.settings), home, local.declared_tables())
            for told in sets[:half]:
                _write(home.inbox, told.files)
            loads.run()
            dbt = Dbt(lakehouse.settings)
            dbt.parse()
            build = (*BUILD_UNTESTED, *selected("network"))
            dbt(*build)
            in_dbt, in_statements, num_nodes = [], [], []
            for told in sets[half : half + rounds + 2]:
                _write(home.inbox, told.files)
                loads.run()
                began = time.monotonic()
                with statements() as spans:
                    num_nodes.append(dbt(*build).total())
                in_dbt.append(time.monotonic() - began)
                in_statements.append(_covered(spans))
    # The first rounds warm up.
    wall, bare = statistics.median(in_dbt[2:]), statistics.median(in_statements[2:])
    nodes = statistics.median(num_nodes[2:])
    return {
        "nodes": nodes,
        "wall_s": _round(wall),
        "statements_s": _round(bare),
        "dbt_s_a_node": _round((wall - bare) / nodes),
        "dbt_share": _round((wall - bare) / wall),
    }


@contextmanager
def statements() -> Iterator[list[tuple[float, float]]]:
    """Begin and end of each statement that dbt runs meanwhile, answers fetched."""
    spans: list[tuple[float, float]] = []
    wrapper = PyhiveConnectionWrapper
    real = {name: getattr(wrapper, name) for name in ("execute", "fetchall")}

    def timed(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            began = time.monotonic()
            try:
                return real[name](*arguments, **named)
            finally:
                spans.append((began, time.monotonic()))

        return call

    for name in real:
        setattr(wrapper, name, timed(name))
    try:
        yield spans
    finally:
        for name, method in real.items():
            setattr(wrapper, name, method)


def _covered(spans: list[tuple[float, float]]) -> float:
    """The seconds that any of the spans covers: dbt's threads run statements side by side."""
    total, reached = 0.0, 0.0
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


def against_peer(runs: int = 3) -> dict[str, Any]:
    """(f) Set 1 from its files to gold, against the exercise's own chain; all engines are cold.

    The chain as published takes so long that it is run once.
    """
    seconds: dict[str, list[float]] = {"ours": [], "peer": [], "peer_with_our_settings": []}
    for run in range(runs):
        with empty_lakehouse() as lakehouse:
            for table, names in SET_1_FILES.items():
                for name in names:
                    lakehouse.deliver(table, name, (multiplied.SET_1 / name).read_bytes())
            seconds["ours"].append(lakehouse.cost(lakehouse.from_inbox_to_gold).wall)
        seconds["peer_with_our_settings"].append(_seconds_of_peer("--tuned"))
        if run == 0:
            seconds["peer"].append(_seconds_of_peer())
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        **{f"{name}_s": _round(value) for name, value in median.items()},
        "share_of_peer": _round(median["ours"] / median["peer"]),
        "share_with_our_settings": _round(median["ours"] / median["peer_with_our_settings"]),
    }


def _seconds_of_peer(*options: str) -> float:
    with tempfile.TemporaryDirectory() as home:
        told = _told("benchmarks.peer", "--source", multiplied.SET_1, "--home", home, *options)
    return float(sum(told["seconds"].values()))


def from_clone_to_demo() -> dict[str, Any]:
    """(g) A fresh clone to the end of `make demo`; packages are cached."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "lakehouse"
        subprocess.run(["git", "clone", "--quiet", PROJECT, clone], check=True)
        ours = ("LAKEHOUSE_", "DBT_")
        environment = {key: text for key, text in os.environ.items() if not key.startswith(ours)}
        began = time.monotonic()
        try:
            subprocess.run(
                ["make", "demo"], cwd=clone, check=True, env=environment, stdout=subprocess.DEVNULL
            )
            seconds = time.monotonic() - began
        finally:
            subprocess.run(["make", "clean"], cwd=clone, check=True, env=environment)
    return {"wall_s": _round(seconds)}


def old_files(readings: int = 20_000_000) -> dict[str, Any]:
    """(h) Years of old files into bronze, and the most memory of each third of the time.

    Memory is what the engine and the command hold together.
    """
    with tempfile.TemporaryDirectory() as folder, empty_lakehouse() as lakehouse:
        days = readings // READINGS_OF_BATCH
        files = Path(folder)
        multiplied.write_days(files, FIRST_DAY, days, READINGS_OF_BATCH)
        table = "sbit.kafka_multiplex"
        before = lakehouse.memory_mb()
        held, began = [], time.monotonic()
        command = [
            *(Path(sys.executable).with_name("lakehouse"), "--home", lakehouse.settings.paths.root),
            *("ingest", "--history", files / table, "--into", table),
        ]
        with subprocess.Popen(command, cwd=PROJECT) as taking_in:
            while taking_in.poll() is None:
                held.append(lakehouse.memory_mb(taking_in.pid))
                time.sleep(1)
        if taking_in.returncode:
            raise RuntimeError(f"It ended with status {taking_in.returncode}")
        wall = time.monotonic() - began
        num_rows = lakehouse.value("select count(*) from bronze.sbit_kafka_multiplex")
    third = len(held) // 3
    return {
        "rows": num_rows,
        "wall_s": _round(wall),
        "rows_a_second": round(num_rows / wall),
        "before_mb": before,
        "thirds_mb": [max(held[:third]), max(held[third:-third]), max(held[-third:])],
    }


def _told(module: str, *arguments: object) -> dict[str, Any]:
    """What a module of the benchmark says in its last line."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment(), check=True, stdout=subprocess.PIPE, text=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def environment() -> dict[str, str]:
    """For a process with a Spark of its own: Spark Connect leaves its mark on this one's."""
    return {key: text for key, text in os.environ.items() if not key.startswith("SPARK_")}


def _compressed_size(path: Path) -> int:
    content = path.read_bytes()
    return len(content if path.suffix == ".gz" else gzip.compress(content))


def _median(costs: list[Cost], what: str) -> float:
    return float(statistics.median(getattr(cost, what) for cost in costs))


def _round(value: float) -> float:
    return round(value, 2)
