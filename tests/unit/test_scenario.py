"""The scenarios of the simulation, without an engine."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import LakehouseError
from tests.simulation import scenario as of
from tests.simulation.domains import DOMAINS
from tests.simulation.runner import Play, draw, models_of
from tests.simulation.scenario import Scenario, Step, draw_steps, shrink

MODELS = ("a", "b", "c")


@given(st.integers(), st.integers(1, 60))
def test_every_file_comes_once_and_repeats_come_later(seed: int, num_files: int) -> None:
    steps = draw_steps(random.Random(seed), num_files, MODELS)
    come: list[int] = []
    for step in steps:
        if step.do in (of.DELIVER, of.LIVE):
            come += step.files
        elif step.do == of.AGAIN:
            assert set(step.files) <= set(come)
    assert sorted(come) == list(range(num_files))
    last_ingest = max(
        number for number, step in enumerate(steps) if step.do in (of.INGEST, of.LIVE)
    )
    assert not any(step.files for step in steps[last_ingest + 1 :])


@given(st.integers(), st.integers(1, 60))
def test_a_file_holds_a_scenario(seed: int, num_files: int) -> None:
    steps = draw_steps(random.Random(seed), num_files, MODELS)
    scenario = Scenario("network", seed, {"minutes": 5}, steps)
    assert Scenario.from_json(scenario.to_json()) == scenario


def test_every_domain_draws_the_same_from_the_same_seed() -> None:
    for domain, kind in DOMAINS.items():
        scenario = draw(3, domain)
        assert scenario == draw(3, domain)
        assert scenario != draw(4, domain)
        assert scenario.delivered() == set(range(len(kind.files(3, scenario.story))))
        assert set(kind.marts) <= set(models_of(domain))


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_build_that_breaks_off_is_a_failure_whenever_it_does(
    monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    house = SimpleNamespace(ingest=lambda: None, value=lambda _: 0, rows=lambda _: [])
    play = Play(house, draw(3, "wearables"), print)
    builds = iter(range(1, 4))

    def build(*_: str) -> None:
        if next(builds) == last:
            raise LakehouseError("refused")

    monkeypatch.setattr(play, "build", build)
    monkeypatch.setattr(play, "_gold", dict)
    for name in ("from_oracle", "_rewritten", "_changes"):
        monkeypatch.setattr(play, name, lambda *_: [])
    monkeypatch.setattr(play, "steps", lambda: None)
    assert play.differences() == ["it broke off: refused"]


def test_what_does_not_matter_is_left_out() -> None:
    steps = (
        Step(of.DELIVER, files=tuple(range(10))),
        Step(of.INGEST),
        Step(of.BUILD),
        Step(of.DELIVER, files=tuple(range(10, 20))),
        Step(of.INGEST),
        Step(of.REFRESH, models=("a",)),
        Step(of.DELIVER, files=tuple(range(20, 30))),
    )

    def fails(scenario: Scenario) -> bool:
        kinds = [step.do for step in scenario.steps]
        return of.REFRESH in kinds and 13 in scenario.delivered()

    smallest = shrink(Scenario("network", 1, {}, steps), fails)
    assert smallest.steps == (Step(of.DELIVER, files=(13,)), Step(of.REFRESH, models=("a",)))
