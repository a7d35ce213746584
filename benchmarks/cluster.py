"""What the same work costs on the local engine and on a cluster, and where it is done there.

    python -m benchmarks.cluster --readings 500000

The files of measure a, fewer of them, from the inbox to gold. Two cores show no gain: what counts
is how much of the work workers do, in how many tasks, and what they send one another.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks import multiplied
from lakehouse.build import BUILD_UNTESTED
from lakehouse.engine import local
from tests.support.cluster import Cluster, environment, running_cluster
from tests.support.domains import selected
from tests.support.lakehouse import Lakehouse, home_of_its_own

_EVENTS = (
    "spark.eventLog.enabled true\nspark.eventLog.compress false\nspark.eventLog.dir file:{folder}\n"
)


@dataclass
class Stages:
    """What the workers did: stages, tasks, their CPU (s), and bytes sent from stage to stage.

    Attributes:
        alone: The CPU (s) of stages that had one task, which one core does, whatever the cluster.
    """

    stages: int
    tasks: int
    cpu: float
    alone: float
    shuffled: int


def stages_of(events: Path) -> Stages:
    """Sums up what Spark's event log tells of each task."""
    tasks: Counter[tuple[int, int]] = Counter()
    cpu: Counter[tuple[int, int]] = Counter()
    shuffled = 0
    for line in _lines(events):
        event = json.loads(line)
        if event["Event"] != "SparkListenerTaskEnd" or not event.get("Task Metrics"):
            continue
        stage, metrics = (event["Stage ID"], event["Stage Attempt ID"]), event["Task Metrics"]
        tasks[stage] += 1
        cpu[stage] += metrics["Executor CPU Time"]
        shuffled += metrics["Shuffle Write Metrics"]["Shuffle Bytes Written"]
    return Stages(
        len(tasks),
        tasks.total(),
        cpu.total() / 1e9,
        sum(spent for stage, spent in cpu.items() if tasks[stage] == 1) / 1e9,
        shuffled,
    )


def _lines(events: Path) -> Iterator[str]:
    for path in sorted(path for path in events.rglob("*") if path.is_file()):
        if not path.name.startswith((".", "appstatus")):
            with path.open(encoding="utf-8") as file:
                yield from file


def cost_of(home: Path, readings: int, cluster: Cluster | None) -> dict[str, float]:
    """The cost of the files' way to gold, in seconds: on the clock, of this process and of others.

    Args:
        home: An empty folder.
        readings: How many there are.
        cluster: The cluster; None for the local engine.
    """
    told = cluster.environment if cluster else {"LAKEHOUSE_TARGET": "local"}
    with environment(told), home_of_its_own(home) as settings:
        multiplied.write(settings.paths.inbox, readings)
        lakehouse = Lakehouse(settings)
        running = psutil.Process(local.start(settings).pid)
        parts = {
            "driver": lambda: [running, *running.children(recursive=True)],
            "workers": lambda: cluster.executors() if cluster else [],
        }
        began, before = time.monotonic(), {name: _cpu(of()) for name, of in parts.items()}
        own = time.process_time()
        lakehouse.ingest()
        ingested = time.monotonic()
        lakehouse.dbt(*BUILD_UNTESTED, *selected("wearables"))
        return {
            "wall": time.monotonic() - began,
            "of it ingestion": ingested - began,
            "this process": time.process_time() - own,
            **{name: _cpu(of()) - before[name] for name, of in parts.items()},
        }


def _cpu(processes: list[psutil.Process]) -> float:
    times = [process.cpu_times() for process in processes if process.is_running()]
    return sum(of.user + of.system for of in times)


def main() -> None:
    """Measures both, one after the other, and prints what they cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=500_000)
    readings = parser.parse_args().readings
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as name:
        folder = Path(name)
        for part in ("parts", "events"):
            (folder / part).mkdir()
        found: dict[str, Any] = {"local": cost_of(folder / "local", readings, None)}
        with running_cluster(folder / "parts") as cluster:
            cluster.add_properties(_EVENTS.format(folder=folder / "events"))
            found["cluster"] = cost_of(folder / "cluster", readings, cluster)
        found["stages"] = vars(stages_of(folder / "events"))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
