"""Plays scenarios for as long as one likes; a failing one is made smaller and kept.

python -m tests.simulation --seed 1 --scenarios 20 [--domain network]
python -m tests.simulation --replay FILE...
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from lakehouse import engine
from lakehouse.settings import load_settings
from tests.integration.conftest import House
from tests.simulation.domains import DOMAINS
from tests.simulation.runner import CHECKS, Play, draw
from tests.simulation.scenario import Scenario, shrink

CORPUS = Path(__file__).with_name("corpus")


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="the first scenario's")
    parser.add_argument("--scenarios", type=int, default=4, help="how many, one a seed")
    parser.add_argument("--domain", choices=DOMAINS, help="only this one; else one after the other")
    parser.add_argument("--replay", type=Path, nargs="+", metavar="FILE", help="these instead")
    options = parser.parse_args()
    if options.replay:
        scenarios = [Scenario.from_json(path.read_text()) for path in options.replay]
    else:
        names = [options.domain] if options.domain else list(DOMAINS)
        seeds = range(options.seed, options.seed + options.scenarios)
        scenarios = [draw(seed, names[seed % len(names)]) for seed in seeds]
    with tempfile.TemporaryDirectory(prefix="lakehouse-simulation-") as folder:
        house = House(load_settings(Path(folder)))
        try:
            return play(house, scenarios)
        finally:
            engine.down(house.settings)


def kind_of(found: list[str]) -> str:
    """What a failure is called, without its details; empty for none."""
    return found[0].split(":")[0] if found else ""


def smaller_that_fails_alike(house: House, scenario: Scenario, kind: str) -> Scenario:
    return shrink(scenario, lambda one: kind_of(Play(house, one, say).differences()) == kind)


def play(house: House, scenarios: list[Scenario]) -> int:
    for scenario in scenarios:
        began = time.monotonic()
        say(f"{scenario.domain}, seed {scenario.seed}: {scenario.story}")
        if found := Play(house, scenario, say).differences():
            say("\n".join(found))
            say("It fails. Making it smaller ...")
            smallest = smaller_that_fails_alike(house, scenario, kind_of(found))
            kept = CORPUS / f"{scenario.domain}-{scenario.seed}.json"
            CORPUS.mkdir(exist_ok=True)
            kept.write_text(smallest.to_json())
            say(f"Seed {scenario.seed} fails in {len(smallest.steps)} steps: {kept}")
            return 1
        say(f"  right after {time.monotonic() - began:.0f} s")
    say(f"{len(scenarios)} scenarios. Each: {CHECKS}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
