"""Runs the benchmark, all of it or some letters, and writes results.json and the table.

python -m benchmarks [a] [b] [c] [d] [e] [f] [g] [h] [i] [j]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from rich.console import Console

from benchmarks import latency, measures, multiplied
from lakehouse.cli import told

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
README = HERE / "README.md"
_BEGIN, _END = "<!-- results -->\n", "<!-- end of results -->\n"


class Measure(NamedTuple):
    """A row of the table."""

    what: str
    run: Callable[[], dict[str, Any]]
    figure: str
    aim: str


def _live() -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
        return latency.measure(10, Path(folder))


MEASURES = {
    "a": Measure(
        "5 million readings from files to gold, against DuckDB from the same files",
        partial(measures.throughput, measures.WEARABLES),
        "{times_duckdb_cpu} times its CPU ({duckdb_cpu_s} s)",
        "at most 8 times",
    ),
    "b": Measure(
        "a batch of 10,000 readings on 64 times the history, against the same on 1 time",
        partial(measures.history, measures.WEARABLES),
        "{cost_ratio_cpu} times the CPU, {cost_ratio_wall} times the wall time",
        "at most 1.3 times",
    ),
    "c": Measure(
        "from a file's rename to the first query that sees it, a set every 5 s for 10 minutes, "
        "against streams with MERGE",
        _live,
        "p50 {p50_s} s, p99 {p99_s} s, {never_seen} never seen; theirs {peer_p50_s} s and "
        "{peer_p99_s} s; the mart within {load_most_builds} builds",
        "3 s and 8 s, below theirs; 2 builds",
    ),
    "d": Measure(
        "what dbt adds to a build of a domain, a set of 5 s each",
        measures.what_dbt_adds,
        "{dbt_s_a_node} s a node, {dbt_share:.0%}",
        "0.15 s, 30 %",
    ),
    "e": Measure(
        "bytes an event, bronze beyond the raw text's own in gzip, and a reading in silver",
        measures.bytes_per_event,
        "{bronze_beyond_raw} and {silver_bytes_per_event}; on disk {bronze_on_disk_to_live} and "
        "{silver_on_disk_to_live} times",
        "15 and 6; 2 times",
    ),
    "f": Measure(
        "set 1 from files to gold, against the exercise's own chain",
        measures.against_peer,
        "{share_of_peer:.0%} of its {peer_s} s; {share_with_our_settings:.0%} of the "
        "{peer_with_our_settings_s} s that it takes with our settings",
        "at most 50 %",
    ),
    "g": Measure(
        "from a fresh clone to the end of the demo, packages cached",
        measures.from_clone_to_demo,
        "{wall_s} s",
        "under 120 s",
    ),
    "h": Measure(
        "20 million readings of old files into bronze: the most memory of each third of the time",
        measures.old_files,
        "{thirds_mb} MB, {before_mb} before; {rows_a_second} rows a second",
        "flat",
    ),
    "i": Measure(
        "a shop's 40 days, 2 million rows, from files to gold, against DuckDB from the same files",
        partial(measures.throughput, measures.SHOP),
        "{times_duckdb_cpu} times its CPU ({duckdb_cpu_s} s)",
        "at most 8 times",
    ),
    "j": Measure(
        "a shop's day, 10,000 rows, on 64 times the history, against the same on 1 time",
        partial(measures.history, measures.SHOP, (1, 64)),
        "{cost_ratio_cpu} times the CPU, {cost_ratio_wall} times the wall time",
        "at most 1.3 times",
    ),
}


def table(results: dict[str, Any]) -> str:
    """The results in Markdown, as README.md shows them."""
    rows = ["| | what | measured | aim | when |", "|---|---|---|---|---|"]
    for letter, measure in MEASURES.items():
        found = results.get(letter)
        figure = measure.figure.format(**found) if found else "not measured"
        when = found["date"] if found else ""
        rows.append(f"| {letter} | {measure.what} | {figure} | {measure.aim} | {when} |")
    machines: dict[str, list[str]] = {}
    for letter in MEASURES:
        if letter in results:
            machines.setdefault(results[letter]["machine"], []).append(letter)
    lines = [f"{', '.join(letters)}: {machine}." for machine, letters in machines.items()]
    return "\n".join([*rows, "", *lines]) + "\n"


def _machine() -> str:
    gigabytes = round(psutil.virtual_memory().total / 2**30)
    system = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} cores, {gigabytes} GB, {system}"


def main() -> None:
    """Measures the letters asked for, one after the other; the others keep what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "letters", nargs="*", metavar="LETTER", help="what to measure; all unless some are named"
    )
    parser.epilog = "\n".join(f"{letter}: {measure.what}" for letter, measure in MEASURES.items())
    options = parser.parse_args()
    letters = options.letters or list(MEASURES)
    if unknown := sorted(set(letters) - set(MEASURES)):
        parser.error(f"{', '.join(unknown)}: choose from {', '.join(MEASURES)}")
    if not multiplied.SET_1.exists() and (of_set_1 := set(letters) & set("abefh")):
        parser.error(
            f"{', '.join(sorted(of_set_1))}: measured with the real data set, which is not in "
            f"{multiplied.SET_1}; c, d, g, i and j need none"
        )
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    console = Console(stderr=True)
    for letter in letters:
        console.print(f"{letter}: {MEASURES[letter].what} ...")
        found = MEASURES[letter].run()
        console.print(found)
        date = datetime.now(UTC).date().isoformat()
        results[letter] = found | {"date": date, "machine": _machine()}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        text = README.read_text()
        before, after = text.partition(_BEGIN)[0], text.partition(_END)[2]
        README.write_text(before + _BEGIN + table(results) + _END + after)
    print(table(results))


if __name__ == "__main__":
    with told():
        main()
