"""Plays scenarios for as long as one likes; a failing one is made smaller and kept.

python -m tests.simulation --seed 1 --scenarios 20 [--domain network]
python -m tests.simulation --replay FILE...
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import chain, count
from pathlib import Path

import pytest

from lakehouse import engine
from lakehouse.cli import told
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.settings import load_settings
from tests.simulation.runner import CHECKS, Play, check, draw
from tests.simulation.scenario import Scenario, shrink
from tests.support.domains import DOMAINS
from tests.support.kafka import Broker
from tests.support.lakehouse import Lakehouse
from tests.support.postgres import running_server

CORPUS = Path(__file__).with_name("corpus")
# Plays a scenario; returns what is wrong in the end, a line each.
Differences = Callable[[Scenario], list[str]]


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, help="the first scenario's; 1")
    parser.add_argument("--scenarios", type=int, help="how many, one a seed; 4")
    parser.add_argument("--domain", choices=DOMAINS, help="only this one; else one after the other")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="these instead")
    options = parser.parse_args()
    if options.scenarios is not None and options.scenarios < 1:
        parser.error("--scenarios: at least 1")
    scenarios: Iterable[Scenario]
    if options.replay:
        if any(given is not None for given in (options.seed, options.scenarios, options.domain)):
            parser.error("--replay excludes --seed, --scenarios and --domain")
        try:
            scenarios = [read(path) for path in options.replay]
        except ValueError as error:
            parser.error(str(error))
    else:
        names = [options.domain] if options.domain else list(DOMAINS)
        first = 1 if options.seed is None else options.seed
        seeds = range(first, first + (options.scenarios or 4))
        scenarios = (draw(seed, names[seed % len(names)]) for seed in seeds)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the engine ends, too
    home = Path(tempfile.mkdtemp(prefix="lakehouse-simulation-"))
    lakehouse = Lakehouse(load_settings(home))
    keeps_home = True
    broker = Broker(home / "broker")
    try:
        broker.start()
        local.start(lakehouse.settings)  # what keeps it from starting is no failure of a scenario
        with broker.known(), running_server() as server, server.known():

            def differences(scenario: Scenario) -> list[str]:
                return Play(lakehouse, scenario, say, broker, server).differences()

            keeps_home = not play(differences, scenarios)
    except pytest.skip.Exception as missing:
        keeps_home = False
        raise LakehouseError(str(missing)) from None
    except (KeyboardInterrupt, SystemExit):
        keeps_home = False
        raise
    finally:
        broker.kill()
        engine.down(lakehouse.settings)
        if keeps_home:
            say(f"The lakehouse of the last run, with its logs: {home}")
        else:
            shutil.rmtree(home)
    return 1 if keeps_home else 0


def read(path: Path) -> Scenario:
    """Reads a scenario that can be played.

    Raises:
        ValueError: The file holds none; tells which and why.
    """
    try:
        scenario = Scenario.from_json(path.read_text())
        check(scenario)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} holds no scenario: {error}") from None
    return scenario


def kind_of(found: list[str]) -> str:
    """What a failure is called, without its details; empty for none."""
    return found[0].split(":")[0] if found else ""


def smaller_that_fails_alike(differences: Differences, scenario: Scenario, kind: str) -> Scenario:
    return shrink(scenario, lambda one: kind_of(differences(one)) == kind)


def kept_as(scenario: Scenario) -> Path:
    """A new file of the corpus; what is there stays."""
    first = CORPUS / f"{scenario.domain}-{scenario.seed}.json"
    more = (first.with_stem(f"{first.stem}-{number}") for number in count(2))
    return next(path for path in chain([first], more) if not path.exists())


def play(differences: Differences, scenarios: Iterable[Scenario]) -> bool:
    """Plays scenarios up to one that fails; says whether all were right."""
    played = 0
    for scenario in scenarios:
        began = time.monotonic()
        say(f"{scenario.domain}, seed {scenario.seed}: {scenario.story}")
        if found := differences(scenario):
            say("\n".join(found))
            kept = kept_as(scenario)
            kept.write_text(scenario.to_json())
            say(f"It fails; kept as {kept}. Making it smaller ...")
            smallest = smaller_that_fails_alike(differences, scenario, kind_of(found))
            kept.write_text(smallest.to_json())
            say(f"Seed {scenario.seed} fails in {len(smallest.steps)} steps: {kept}")
            return False
        say(f"  right after {time.monotonic() - began:.0f} s")
        played += 1
    say(f"{played} scenarios. Each: {CHECKS}.")
    return True


if __name__ == "__main__":
    with told():
        sys.exit(main())
