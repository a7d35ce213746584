"""From the rename of a file to the first query that sees it, here and in the exercise's own way.

    python -m benchmarks.latency --minutes 10 --home DIR [--to kafka]

A set of files every 5 s, watched over Thrift by readers in processes of their own: first by
`lakehouse run --every 5s` with its builds into the live view gold.server_status and the mart
gold.server_load, then by the peer (`live_peer.py`) into its table of load per server. Both get the
same story at the same pace, its first minutes before anybody watches. With `--to kafka` the events
come as messages to a broker of its own, and there is no peer.

The generator moves the last event of each set to the moment of its rename, so the delay of a set is
the reader's clock at the first answer that holds its newest event, less that event's time; both
clocks are the machine's.
"""

from __future__ import annotations

import argparse
import json
import math
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pyarrow.parquet as pq
from pyhive import exc, hive

from benchmarks import live_peer
from benchmarks.measures import environment
from generators.kafka import sender
from generators.network import story as network
from generators.network.tables import SERVERS
from ingestion.home import Home
from lakehouse import engine
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, Settings, load_settings
from tests.support.kafka import Broker

# All of the view, as a BI tool shows it: its newest event alone would be less work.
STATUS = "select *, unix_micros(last_event_at) from gold.server_status"
LOAD = "select max(unix_micros(last_event_at)) from gold.server_load"
PUBLICATIONS = (
    "select min(unix_micros(recorded_at)) from audit.domains "
    "where domain = 'network' and published is not null group by published"
)
# Between an answer and the next question: an eager reader takes half a core from those it watches.
PAUSE_SECONDS = 0.25
PAUSE_OF_LOAD_SECONDS = 2.0
EVERY = 5
SEED = 1
# What has come before; without anything there would be nothing to ask.
HISTORY_MINUTES = 10
# Sets that are not counted: a live loop runs for weeks, and in its first minute Java compiles it.
WARM_UP_MINUTES = 1
# A set may come just after a build has begun: then it waits for all of this one and of the next.
UNSEEN_SECONDS = 300
LAKEHOUSE = str(Path(sys.executable).with_name("lakehouse"))


class Answer(NamedTuple):
    """What a reader was told: when it asked and when that came, and the newest event, in seconds.

    All are epoch seconds; `newest` is 0 where there was no event.
    """

    asked: float
    came: float
    newest: float
    num_rows: int


class Watched(NamedTuple):
    """What a reader has seen, and how many of its questions failed."""

    answers: list[Answer]
    num_failed: int


class Server(NamedTuple):
    """A Thrift server on this machine: its port, and how it knows its clients."""

    port: int
    auth: str = "NOSASL"

    def cursor(self) -> Any:
        """A session with it."""
        return hive.connect("127.0.0.1", self.port, auth=self.auth, username="reader").cursor()


def watch(server: Server, query: str, pause: float, last: float) -> Watched:
    """Asks, one question at a time, until it is told of the last event or that is long past.

    Args:
        server: Whom to ask.
        query: What to ask; the last column is the time of an event, in microseconds.
        pause: Seconds between an answer and the next question.
        last: When the last event happens, in epoch seconds.
    """
    cursor = server.cursor()
    answers: list[Answer] = []
    num_failed = 0
    while time.time() < last + UNSEEN_SECONDS:
        asked = time.time()
        try:
            cursor.execute(query)
            rows = cursor.fetchall()
        except exc.Error:
            num_failed += 1
        else:
            newest = max((row[-1] for row in rows if row[-1] is not None), default=0) / 1e6
            answers.append(Answer(asked, time.time(), newest, len(rows)))
            if newest >= last:
                break
        time.sleep(pause)
    return Watched(answers, num_failed)


def follow(
    home: Home,
    server: Server,
    minutes: int,
    queries: Mapping[str, float],
    look: Callable[[], dict[str, int]] = dict,
    *,
    to_kafka: bool = False,
) -> tuple[list[float], list[Watched], list[dict[str, int]]]:
    """Delivers the story as it happens while a reader asks each of the queries.

    Args:
        home: Where to deliver.
        server: Whom to ask.
        minutes: How long, after warming up.
        queries: What to ask, with the pause of `watch`.
        look: Asked after half the time and in the end.
        to_kafka: Whether the events come as messages.

    Returns:
        When the sets came that count, what the readers saw of them, and the two looks.
    """
    # Midway between the triggers of streams, which come at whole multiples. A float holds it.
    start = (time.time() // EVERY + 1.5) * EVERY
    length = WARM_UP_MINUTES + minutes
    last = start + 60 * length
    with get_context("spawn").Pool(1 + len(queries)) as pool:
        delivery = pool.apply_async(deliver, (home, length, start, to_kafka))
        readers = [
            pool.apply_async(watch, (server, query, pause, last))
            for query, pause in queries.items()
        ]
        delivery.wait(last - 30 * minutes - time.time())
        looks = [look()]
        delivery.get()
        watched = [reader.get() for reader in readers]
        looks.append(look())
    warm = round(60 * WARM_UP_MINUTES / EVERY)
    return (
        [last - EVERY * n for n in range(round(60 * length / EVERY) - warm)][::-1],
        watched,
        looks,
    )


def deliver(home: Home, minutes: int, start: float, to_kafka: bool) -> None:
    """Delivers the story of so many minutes from a moment (epoch seconds) on, as it happens."""
    now = datetime.fromtimestamp(start, UTC)
    send = sender() if to_kafka else None
    network.deliver(home, SEED, every=EVERY, minutes=minutes, now=now, send=send)


def delays_of(sets: list[float], watched: Watched) -> list[float]:
    """Seconds from each set to the first answer that holds it; infinite where there is none."""
    return [
        next((answer.came for answer in watched.answers if answer.newest >= moment), math.inf)
        - moment
        for moment in sets
    ]


def figures(delays: list[float]) -> dict[str, Any]:
    """The percentiles of those that were seen; flat is what is the same in both thirds."""
    seen = [delay for delay in delays if delay < math.inf]
    if not seen:  # in a short trial no build may have ended
        return {"sets": len(delays), "never_seen": len(delays)}
    third = -(-len(seen) // 3)
    return {
        "sets": len(delays),
        "never_seen": len(delays) - len(seen),
        "p50_s": round(statistics.median(seen), 2),
        "p99_s": round(sorted(seen)[min(int(len(seen) * 0.99), len(seen) - 1)], 2),
        "max_s": round(max(seen), 2),
        "first_third_p50_s": round(statistics.median(seen[:third]), 2),
        "last_third_p50_s": round(statistics.median(seen[-third:]), 2),
    }


def of_reader(watched: Watched) -> dict[str, Any]:
    """How long its own questions took, and how many failed."""
    seconds = [answer.came - answer.asked for answer in watched.answers]
    return {
        "query_p50_s": round(statistics.median(seconds), 2),
        "failed_queries": watched.num_failed,
    }


def builds(sets: list[float], delays: list[float], published: list[float]) -> int:
    """How many publications, at most, it took until a set that was seen was."""
    return max(
        (
            sum(moment < publication <= moment + delay for publication in published)
            for moment, delay in zip(sets, delays, strict=True)
            if delay < math.inf
        ),
        default=0,
    )


def is_right(home: Home, last: Answer, newest: float) -> bool:
    """Whether an answer of gold.server_status has each server and the newest event of the story.

    It has one more that only connections know.

    No row is to be refused, and nothing waits. What else the view says, the tests look at.
    """
    servers = {
        server
        for folder in (home.landing, home.archive)
        for path in folder.rglob("*.parquet")
        if SERVERS in path.parts
        for server in pq.read_table(path, columns=["server_id"], partitioning=None)["server_id"]
    }
    return last.num_rows >= len(servers) and last.newest == newest


def write_history(home: Home) -> None:
    """Delivers the same story at once, as one that has just ended."""
    start = datetime.now(UTC) - timedelta(minutes=HISTORY_MINUTES)
    network.write(home, SEED, minutes=HISTORY_MINUTES, start=start)


def of_lakehouse(minutes: int, home: Path, *, to_kafka: bool = False) -> dict[str, Any]:
    """Measures the live loop; its engine is down in the end.

    Raises:
        LakehouseError: The loop did not begin.
        RuntimeError: What readers saw was not right.
    """
    settings = load_settings(home)
    write_history(settings.paths)
    log = home / "latency.log"
    try:
        with log.open("wb") as output:
            once = [LAKEHOUSE, "run", "--once"]
            subprocess.run(once, cwd=PROJECT, stderr=output, check=True)
            every = [LAKEHOUSE, "run", "--every", f"{EVERY}s"]
            loop = subprocess.Popen(every, cwd=PROJECT, stderr=output)
            try:
                while "A round every" not in log.read_text():
                    if loop.poll() is not None:
                        raise LakehouseError(f"The loop ended: {log.read_text()[-1000:].strip()}")
                    time.sleep(1)
                sets, [status, load], looks = follow(
                    settings.paths,
                    Server(settings.port),
                    minutes,
                    {STATUS: PAUSE_SECONDS, LOAD: PAUSE_OF_LOAD_SECONDS},
                    lambda: state(settings, loop.pid),
                    to_kafka=to_kafka,
                )
                cursor = Server(settings.port).cursor()
                cursor.execute(PUBLICATIONS)
                published = [micros / 1e6 for [micros] in cursor.fetchall()]
                loop.send_signal(signal.SIGINT)
                loop.wait(120)
            finally:
                loop.kill()
    finally:
        engine.down(settings)
    if not is_right(settings.paths, status.answers[-1], sets[-1]):
        raise RuntimeError(f"gold.server_status is not right: {status.answers[-1]}")
    until_load = delays_of(sets, load)
    of_load = figures(until_load) | {"most_builds": builds(sets, until_load, published)}
    return {
        **figures(delays_of(sets, status)),
        **of_reader(status),
        **{f"load_{name}": value for name, value in of_load.items()},
        "after_half_the_time": looks[0],
        "in_the_end": looks[1],
    }


def of_peer(minutes: int, home: Path) -> dict[str, Any]:
    """Measures the exercise's own way.

    Raises:
        RuntimeError: Its streams did not begin, or one of them failed.
    """
    settings = Settings(home=home.absolute())
    write_history(settings.paths)
    log = home / "peer.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.live_peer", "--home", str(home)],
            cwd=PROJECT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        ) as streams,
    ):
        if b"ready\n" not in (streams.stdout or ()):
            raise RuntimeError(f"The peer did not begin: {log.read_text()[-1000:].strip()}")
        sets, [watched], _ = follow(
            settings.paths,
            Server(settings.port, "NONE"),
            minutes,
            {live_peer.NEWEST: PAUSE_SECONDS},
        )
    if streams.returncode:
        raise RuntimeError(f"A stream of the peer failed: {log.read_text()[-1000:].strip()}")
    return figures(delays_of(sets, watched)) | of_reader(watched)


def measure(minutes: int, home: Path) -> dict[str, Any]:
    """Measures in an empty folder, which it leaves behind: one after the other, on all cores.

    Returns:
        Seconds of delay, how the loop's memory and the tables' files have grown, and what of the
        same the peer has.
    """
    home = home.absolute()
    ours = of_lakehouse(minutes, home / "ours")
    peer = of_peer(minutes, home / "peer")
    return {"minutes": minutes, **ours, **{f"peer_{name}": value for name, value in peer.items()}}


def measure_messages(minutes: int, home: Path) -> dict[str, Any]:
    """The same of events that come as messages, without the peer."""
    broker = Broker(home.absolute() / "broker")
    broker.start()
    try:
        with broker.known():
            return {"minutes": minutes, **of_lakehouse(minutes, home / "ours", to_kafka=True)}
    finally:
        broker.kill()


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
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--home", type=Path, required=True, help="An empty folder.")
    parser.add_argument("--to", choices=["files", "kafka"], default="files")
    options = parser.parse_args()
    run = measure_messages if options.to == "kafka" else measure
    print(json.dumps(run(options.minutes, options.home)))


if __name__ == "__main__":
    main()
