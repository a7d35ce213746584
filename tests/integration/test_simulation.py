"""Scenarios drawn from seeds and those that once failed; and mistakes that must be noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lakehouse.errors import LakehouseError
from tests.simulation import scenario as of
from tests.simulation.__main__ import CORPUS
from tests.simulation.mistakes import MISTAKES, OF_ORDER, planted
from tests.simulation.runner import Play, draw
from tests.simulation.scenario import Scenario, Step
from tests.support.domains import DOMAINS
from tests.support.kafka import Broker
from tests.support.lakehouse import Lakehouse
from tests.support.postgres import Server

pytestmark = pytest.mark.deep

SCENARIOS = [
    *(Scenario.from_json(path.read_text()) for path in sorted(CORPUS.glob("*.json"))),
    *(draw(seed, name) for name, domain in DOMAINS.items() for seed in domain.seeds),
]


def test_everything_that_may_happen_does() -> None:
    played = {step.do for scenario in SCENARIOS for step in scenario.steps}
    # The live loop's kill has a test in test_network, the engine's in test_batches.
    assert played == of.KINDS - {of.LIVE, of.KILL_ENGINE}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: f"{one.domain}-{one.seed}")
def test_a_scenario_ends_as_plain_python_says(
    lakehouse: Lakehouse, kafka: Broker, postgres: Server, scenario: Scenario
) -> None:
    found = Play(lakehouse, scenario, print, kafka, postgres).differences()
    how = f"--domain {scenario.domain} --seed {scenario.seed} --scenarios 1, or --replay its file"
    assert not found, f"make it smaller: python -m tests.simulation {how}"


STORY = {"minutes": 90, "users": 9, "twisted": 20}
# So many twisted messages that some of those that a reader might misread are of a workout.
TWISTED = STORY | {"twisted": 200}
NUM_FILES = len(DOMAINS["wearables"].files(3, STORY))


@pytest.mark.parametrize("name", OF_ORDER)
def test_a_planted_mistake_of_order_is_noticed(
    lakehouse: Lakehouse, postgres: Server, name: str, tmp_path: Path
) -> None:
    mistake, of_second_half = OF_ORDER[name]
    steps = (
        Step(of.DELIVER, files=tuple(range(1, NUM_FILES, 2))),
        Step(of.INGEST),
        Step(of.BUILD),
        *(
            replace(step, files=tuple(range(0, NUM_FILES, 2)))
            if step.do in (of.DELIVER, of.LOAD_INSIDE)
            else step
            for step in of_second_half
        ),
    )
    play = Play(lakehouse, Scenario("wearables", 3, STORY, steps), print, server=postgres)
    with planted(mistake, tmp_path):
        assert play.steps() or play.from_oracle()


@pytest.fixture(scope="module")
def play(lakehouse: Lakehouse) -> Play:
    """A story with every other file built, and all of it taken in."""
    steps = (
        Step(of.DELIVER, files=tuple(range(1, NUM_FILES, 2))),
        Step(of.INGEST),
        Step(of.BUILD),
        Step(of.DELIVER, files=tuple(range(0, NUM_FILES, 2))),
        Step(of.INGEST),
    )
    play = Play(lakehouse, Scenario("wearables", 3, TWISTED, steps), print)
    assert play.steps() == []
    return play


def is_noticed(play: Play) -> bool:
    return any(line.startswith("workout_bpm_summary") for line in play.from_oracle())


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_noticed(
    play: Play, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A full refresh forgives a watermark, and mends what the mistake before has spoilt.
    options = () if name == "a watermark on event time" else ("--full-refresh",)
    with planted(MISTAKES[name], tmp_path):
        try:
            play.build(*options, models=("+workout_bpm_summary",))
        except LakehouseError:
            # Two versions of one moment: the merge refuses them already.
            assert name == "rank ties"
            assert "MULTIPLE_SOURCE_ROW_MATCHING" in capsys.readouterr().err
            return
    assert is_noticed(play)


def test_without_a_mistake_nothing_is_noticed(play: Play) -> None:
    play.build("--full-refresh", models=("+workout_bpm_summary",))
    assert not is_noticed(play)
