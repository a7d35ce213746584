"""From the rename of a file to the first query that sees it in gold.server_load.

    python -m benchmarks.latency --minutes 10 --home DIR

Runs `lakehouse generate network --every 5s` beside `lakehouse run --every 5s --build-every 1s`,
and a reader of its own that asks over Thrift again and again. The generator moves the last event of
each set to the moment of its rename, so the delay of a set is the reader's clock at the first
answer that holds its newest event, less that event's time; both clocks are the machine's.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyhive import hive

from lakehouse import engine
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, Settings, load_settings

NEWEST = "select max(unix_micros(last_event_at)) from gold.server_load"
# Between an answer and the next question: an eager reader takes half a core from those it watches.
PAUSE_SECONDS = 0.25
# A set may come just after a build has begun: then it waits for all of this one and of the next.
UNSEEN_SECONDS = 180
LAKEHOUSE = str(Path(sys.executable).with_name("lakehouse"))


def watch(settings: Settings, seconds: float) -> list[tuple[float, float]]:
    """Asks for the newest event until the time is up.

    Returns:
        (when an answer came, the newest event in it), each newest event once, in epoch seconds.
    """
    seen: list[tuple[float, float]] = []
    cursor = hive.connect("127.0.0.1", settings.port, auth="NOSASL", username="reader").cursor()
    deadline = time.time() + seconds
    while time.time() < deadline:
        cursor.execute(NEWEST)
        [[newest]] = cursor.fetchall()
        if newest is not None and (not seen or newest / 1e6 > seen[-1][1]):
            seen.append((time.time(), newest / 1e6))
        time.sleep(PAUSE_SECONDS)
    return seen


def delivered(settings: Settings) -> list[float]:
    """The time of the newest event of each set, in epoch seconds."""
    newest: dict[str, float] = defaultdict(float)
    folders = (settings.paths.landing, settings.paths.archive)
    for path in (path for folder in folders for path in folder.rglob("*=2D*.parquet")):
        if "telecom.connections" not in path.parts:
            continue
        number = re.search(r"=2D(\d+)=2Eparquet", path.name)
        latest = pc.max(pq.read_table(path, columns=["event_at"])["event_at"]).as_py()
        if number:
            newest[number[1]] = max(newest[number[1]], latest.timestamp())
    return sorted(newest.values())


def delays(
    sets: list[float], seen: list[tuple[float, float]], began: float, ended: float
) -> list[tuple[float, float]]:
    """(when a set came, its delay) of the sets that came while the reader watched, in seconds.

    Those of the last minutes are left out: only the fast ones among them were seen.

    Raises:
        RuntimeError: A set was not seen.
    """
    found = []
    for newest in sets:
        if began < newest < ended - UNSEEN_SECONDS:
            seconds = [asked - newest for asked, event in seen if event >= newest]
            if not seconds:
                raise RuntimeError(f"the set of {time.ctime(newest)} was never seen")
            found.append((newest, min(seconds)))
    return found


def measure(minutes: float, home: Path) -> dict[str, Any]:
    """Measures in an empty home, which it leaves behind.

    Returns:
        Seconds of delay, and how the loop's memory and the tables' files have grown.
    """
    settings = load_settings(home)
    log = home / "latency.log"
    home.mkdir(parents=True, exist_ok=True)
    processes = []
    try:
        with log.open("wb") as output:
            run = [LAKEHOUSE, "run", "--every", "5s", "--build-every", "1s"]
            loop = subprocess.Popen(run, cwd=PROJECT, stderr=output)
            processes.append(loop)
            while "A round every" not in log.read_text():
                if loop.poll() is not None:
                    raise LakehouseError(f"The loop ended: {log.read_text()[-1000:].strip()}")
                time.sleep(1)
            story = str(int(minutes) + 1)
            generate = [LAKEHOUSE, "generate", "network", "--every", "5s", "--minutes", story]
            processes.append(subprocess.Popen(generate, cwd=PROJECT, stderr=output))
            began = time.time()
            halves = []
            seen: list[tuple[float, float]] = []
            for _ in range(2):
                seen += watch(settings, minutes * 30)
                halves.append(state(settings, loop.pid))
            ended = time.time()
            for process in processes[::-1]:
                process.send_signal(signal.SIGINT)
                process.wait(120)
    finally:
        for process in processes:
            process.kill()
        engine.down(settings)
    found = delays(delivered(settings), seen, began, ended)
    seconds = sorted(delay for _, delay in found)
    half = len(found) // 2
    return {
        "minutes": minutes,
        "sets": len(found),
        "p50_s": round(statistics.median(seconds), 2),
        "p90_s": round(seconds[int(len(seconds) * 0.9)], 2),
        "p99_s": round(seconds[min(int(len(seconds) * 0.99), len(seconds) - 1)], 2),
        "first_half_p50_s": round(statistics.median(delay for _, delay in found[:half]), 2),
        "second_half_p50_s": round(statistics.median(delay for _, delay in found[half:]), 2),
        "after_half_the_time": halves[0],
        "in_the_end": halves[1],
    }


def state(settings: Settings, loop: int) -> dict[str, int]:
    """What must not grow without end: memory in MB, and files."""
    running = engine.running_engine(settings)
    pids = [loop, *([running.pid] if running else [])]
    warehouse = settings.paths.warehouse
    return {
        "loop_mb": psutil.Process(pids[0]).memory_info().rss // 2**20,
        "engine_mb": psutil.Process(pids[-1]).memory_info().rss // 2**20,
        "landed_files": sum(1 for _ in settings.paths.landing.rglob("*.parquet")),
        "log_files": sum(1 for _ in warehouse.glob("*/*/_delta_log/*")),
        "table_files": sum(1 for _ in warehouse.rglob("*.parquet")),
    }


def main() -> None:
    """Measures, and prints what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--home", type=Path, required=True, help="An empty folder.")
    options = parser.parse_args()
    print(json.dumps(measure(options.minutes, options.home)))


if __name__ == "__main__":
    main()
