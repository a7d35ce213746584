"""The scenarios of the simulation, without an engine."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT
from tests.simulation import scenario as of
from tests.simulation.__main__ import kept_as
from tests.simulation.mistakes import MISTAKES, OF_ORDER
from tests.simulation.runner import Play, check, draw, models_of
from tests.simulation.scenario import Scenario, Step, draw_steps, shrink
from tests.support.domains import DOMAINS

MODELS = ("a", "b", "c")
CHANGES = [("delete from a",), ("insert into a values (1)", "update a set b = 2")]


@given(st.integers(), st.integers(1, 60))
def test_every_file_comes_once_and_repeats_come_later(seed: int, num_files: int) -> None:
    steps = draw_steps(random.Random(seed), num_files, MODELS, CHANGES)
    come: list[int] = []
    for step in steps:
        if step.do in (of.DELIVER, of.LIVE, of.LOAD_INSIDE):
            come += step.files
        elif step.do == of.AGAIN:
            assert set(step.files) <= set(come)
    assert sorted(come) == list(range(num_files))
    last_ingest = max(
        number
        for number, step in enumerate(steps)
        if step.do in (of.INGEST, of.LIVE, of.LOAD_INSIDE)
    )
    assert not any(step.files or step.changes for step in steps[last_ingest + 1 :])


@given(st.integers(), st.integers(1, 60))
def test_a_file_holds_a_scenario(seed: int, num_files: int) -> None:
    steps = draw_steps(random.Random(seed), num_files, MODELS, CHANGES)
    scenario = Scenario("network", seed, {"minutes": 5}, steps)
    assert Scenario.from_json(scenario.to_json()) == scenario


def test_every_domain_draws_the_same_from_the_same_seed() -> None:
    for domain, kind in DOMAINS.items():
        scenario = draw(3, domain)
        assert scenario == draw(3, domain)
        assert scenario != draw(4, domain)
        assert scenario.delivered() == set(range(len(kind.files(3, scenario.story))))
        assert {*kind.marts, *kind.live} <= set(models_of(domain))


WELL = {"do": "deliver", "files": [0], "models": [], "seconds": 0}
TOLD = {"domain": "wearables", "seed": 1, "story": {"minutes": 20, "users": 2}, "steps": [WELL]}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"steps": [WELL | {"do": "biuld"}]}, "a step cannot be 'biuld'"),
        ({"steps": [WELL | {"files": [999]}]}, "none with number 999"),
        ({"steps": [WELL | {"files": [-1]}]}, "none with number -1"),
        ({"steps": [WELL | {"do": "refresh", "models": ["no"]}]}, "wearables has no model 'no'"),
        ({"steps": [WELL | {"more": 1}]}, "it lacks or has too much"),
        ({"steps": [{"do": "build"}]}, "it lacks or has too much: 'files'"),
        ({"steps": None}, "it lacks or has too much"),
        ({"domain": "sports"}, "no domain is called 'sports'"),
        ({"seed": "abc"}, "invalid literal"),
        ({"story": {"minutes": 20, "users": 2, "colour": 1}}, "the story cannot be told"),
    ],
)
def test_a_file_that_holds_no_scenario_says_why(wrong: dict[str, object], why: str) -> None:
    check(Scenario.from_json(json.dumps(TOLD)))
    with pytest.raises(ValueError, match=why):
        check(Scenario.from_json(json.dumps(TOLD | wrong)))


def test_a_failing_scenario_takes_no_others_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.simulation.__main__.CORPUS", tmp_path)
    scenario = draw(7, "network")
    for name in ("network-7.json", "network-7-2.json", "network-7-3.json"):
        kept = kept_as(scenario)
        assert kept == tmp_path / name
        kept.write_text("")


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_build_that_breaks_off_is_a_failure_whenever_it_does(
    monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    lakehouse = SimpleNamespace(ingest=lambda: None)
    play = Play(lakehouse, draw(3, "wearables"), print)
    builds = iter(range(1, 4))

    def build(*_: str) -> None:
        if next(builds) == last:
            raise LakehouseError("refused")

    monkeypatch.setattr(play, "build", build)
    monkeypatch.setattr(play, "_gold", dict)
    for name in ("from_oracle", "_from_live", "_take_back_built", "_rewritten", "_changes"):
        monkeypatch.setattr(play, name, lambda *_: [])
    monkeypatch.setattr(play, "steps", lambda: None)
    assert play.differences() == ["it broke off, LakehouseError: refused"]


def test_a_merge_that_writes_is_noticed(tmp_path: Path) -> None:
    def commit(table: str, operation: str, rows: str, at: float) -> None:
        log = tmp_path / table / "_delta_log" / f"{at:020.0f}.json"
        log.parent.mkdir(parents=True, exist_ok=True)
        metrics = {"numTargetRowsUpdated": rows, "numOutputRows": "9"}
        told = {"commitInfo": {"operation": operation, "operationMetrics": metrics}}
        log.write_text("\n".join(map(json.dumps, [told, {"add": {}}])))
        os.utime(log, (at, at))

    commit("silver.db/a", "MERGE", "2", 100)
    commit("silver.db/a", "MERGE", "0", 300)
    commit("silver.db/b", "MERGE", "3", 300)
    commit("gold_build.db/c", "WRITE", "4", 300)
    commit("audit.db/d", "MERGE", "5", 300)
    lakehouse = SimpleNamespace(settings=SimpleNamespace(paths=SimpleNamespace(warehouse=tmp_path)))
    play = Play(lakehouse, draw(3, "wearables"), print)
    assert play._rewritten(200) == ["silver.b: another build writes 3 rows anew"]


def test_live_views_are_compared_with_what_bronze_has() -> None:
    scenario = draw(3, "network")
    domain = DOMAINS["network"]
    files = [file for file in domain.files(3, scenario.story) if not file.is_refused]
    names = [f"{file.table}/again-1-{file.name}" for file in files[:1]]
    names += [file.full_name for file in files[1:]]
    right = domain.answers(files)["server_status"]
    wrong = [right[0] | {"devices_connected": -1}, *right[1:]]
    views = {"gold.server_status"}
    bronze: list[list[str]] = []
    shown: list[list[dict[str, object]]] = []
    lakehouse = SimpleNamespace(
        has=views.__contains__,
        rows=lambda _: [{"name": name} for name in bronze.pop(0)],
        gold=lambda *_: {"server_status": [row | {"more": 1} for row in shown.pop(0)]},
    )
    play = Play(lakehouse, scenario, print)

    bronze[:], shown[:] = [names], [right]
    assert play._from_live() == []
    bronze[:], shown[:] = [names, names], [wrong]
    (line,) = play._from_live()
    assert line.startswith("live server_status: expected")
    # A file comes while the view is asked.
    bronze[:], shown[:] = [[], names, names], [right, right]
    assert play._from_live() == []
    assert not bronze
    assert len(play._told) == 2
    views.clear()
    assert play._from_live() == []


def test_what_does_not_matter_is_left_out() -> None:
    steps = (
        Step(of.DELIVER, files=tuple(range(10))),
        Step(of.INGEST),
        Step(of.BUILD),
        Step(of.DELIVER, files=tuple(range(10, 20))),
        Step(of.INGEST),
        Step(of.REFRESH, models=("a",)),
        Step(of.CHANGE, changes=("a", "b", "c")),
        Step(of.DELIVER, files=tuple(range(20, 30))),
    )

    def fails(scenario: Scenario) -> bool:
        kinds = [step.do for step in scenario.steps]
        is_changed = any("b" in step.changes for step in scenario.steps)
        return of.REFRESH in kinds and 13 in scenario.delivered() and is_changed

    smallest = shrink(Scenario("network", 1, {}, steps), fails)
    assert smallest.steps == (
        Step(of.DELIVER, files=(13,)),
        Step(of.REFRESH, models=("a",)),
        Step(of.CHANGE, changes=("b",)),
    )


def test_mistakes_can_be_planted() -> None:
    """Where the project has moved on, a mistake of the deep tests would be planted nowhere."""
    of_order = {name: mistake for name, (mistake, _) in OF_ORDER.items()}
    for name, mistake in (MISTAKES | of_order).items():
        assert mistake.right in (PROJECT / mistake.path).read_text(), name
