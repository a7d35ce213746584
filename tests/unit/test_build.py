from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult

from lakehouse import build
from lakehouse.build import Dbt
from lakehouse.domains import Domain, News, State
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_what_stops_dbt_stops_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    result = dbtRunnerResult(success=False, exception=stop)
    monkeypatch.setattr(dbtRunner, "invoke", lambda *_: result)
    with pytest.raises(type(stop)):
        Dbt(Settings(home=tmp_path))("build")


def test_the_project_is_read_when_it_is_asked_for_and_no_other_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed = []

    def invoke(runner: dbtRunner, _: list[str]) -> dbtRunnerResult:
        handed.append(runner.manifest)
        read = SimpleNamespace(name=f"as read {len(handed)}")
        return dbtRunnerResult(success=True, result=read)

    monkeypatch.setattr(dbtRunner, "invoke", invoke)
    dbt = Dbt(Settings(home=tmp_path))
    dbt.parse()
    dbt("build")
    dbt.parse()
    dbt("build")
    assert [manifest and manifest.name for manifest in handed] == [
        *(None, "as read 1"),
        *(None, "as read 3"),
    ]


def test_the_projects_hooks_are_no_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = [("operation", "success"), ("model", "success"), ("test", "warn"), ("test", "pass")]
    results = [
        SimpleNamespace(node=SimpleNamespace(resource_type=kind), status=status)
        for kind, status in nodes
    ]
    result = dbtRunnerResult(success=True, result=SimpleNamespace(results=results))
    monkeypatch.setattr(dbtRunner, "invoke", lambda *_: result)
    assert Dbt(Settings(home=tmp_path))("build") == {"success": 1, "warn": 1, "pass": 1}


class FakeDbt:
    """Builds and tests of which a domain's row tells, as the engine has it; some of them fail."""

    def __init__(
        self, settings: Settings, heard: Callable[[object], None], _options: tuple[str, ...] = ()
    ) -> None:
        self.settings = settings
        self.heard = heard
        self.runs: list[str] = []
        self.states: dict[str, State] = {}
        self.fails: set[str] = set()

    def parse(self) -> None:
        self.runs.append("parse")

    def domains(self) -> list[Domain]:
        return [Domain(name, frozenset(), frozenset()) for name in ("network", "wearables")]

    def __call__(self, *arguments: str) -> Counter[str]:
        with local.only_build(self.settings):
            pass
        name = arguments[-1].removeprefix("config.meta.domain:")
        step = f"{arguments[0]} {name}"
        self.runs.append(step + " interpreted" * (os.environ.get("LAKEHOUSE_INTERPRETS") == "1"))
        self.hear("LogStartLine", total=2, node_info=SimpleNamespace(node_name="a"))
        self.hear("NodeFinished")
        self.hear("LogStartLine", total=2, node_info=SimpleNamespace(node_name="b"))
        if step in self.fails:
            raise LakehouseError(f"dbt {arguments[0]} failed")
        is_test = arguments[0] == "test"
        self.states[name] = State(1, 7, 7 if is_test else None, {})
        return Counter({"pass": 1, "warn": 1} if is_test else {"success": 2})

    def hear(self, name: str, **data: object) -> None:
        self.heard(SimpleNamespace(info=SimpleNamespace(name=name), data=SimpleNamespace(**data)))


class Fakes:
    """Builds of two domains, and what they know of."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shown: list[str] = []
        self.now = 1000.0
        self.news = {"network": News("load 7", is_small=True), "wearables": News("load 7")}
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(local, "session", lambda _: None)
        monkeypatch.setattr(build, "Dbt", FakeDbt)
        monkeypatch.setattr(build, "news_of", lambda *_: self.news)
        self.builds = build.Builds(Settings(home=home), self.shown.append)
        self.dbt: FakeDbt = self.builds._dbt  # type: ignore[assignment]
        monkeypatch.setattr(build, "states_of", lambda _: self.dbt.states)

    def run(self, *, minutes: int = 0) -> tuple[list[str], list[str]]:
        """The runs of dbt, some minutes later, and the lines that tell of them."""
        self.now += minutes * 60
        self.dbt.runs.clear()
        lines = [line for done in self.builds.bring_up_to_date() for line in done.lines()]
        assert self.dbt.runs.pop(0) == "parse"
        return self.dbt.runs.copy(), lines


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    return Fakes(tmp_path, monkeypatch)


def test_each_domain_with_news_is_built_then_tested(fakes: Fakes) -> None:
    assert fakes.run() == (
        ["build network interpreted", "test network", "build wearables", "test wearables"],
        [
            f"{domain}: 2 nodes built, 2 tests green (1 with a warning), published up to load 7"
            for domain in ("network", "wearables")
        ],
    )
    assert fakes.shown[1:4] == [
        "network being built: load 7 ...",
        "network: 0 of 2 built, now a",
        "network: 1 of 2 built, now b",
    ]
    assert "LAKEHOUSE_INTERPRETS" not in os.environ


def test_tests_are_interpreted_where_the_few_rows_are_all(fakes: Fakes) -> None:
    fakes.news = {"network": News("load 7", is_small=True, is_first=True)}
    assert fakes.run()[0] == ["build network interpreted", "test network interpreted"]


def test_a_domain_without_news_is_left_alone(fakes: Fakes) -> None:
    fakes.news = {"network": News()}
    assert fakes.run() == (
        ["test network"],
        ["network: 2 tests green (1 with a warning), published up to load 7"],
    )
    fakes.news = {}
    assert fakes.run() == ([], [])
    assert [done.has_news for done in fakes.builds.bring_up_to_date()] == [False, False]


def test_a_failing_build_holds_up_no_other_domain_and_is_tried_later_and_later(
    fakes: Fakes,
) -> None:
    del fakes.news["wearables"]
    fakes.dbt.fails = {"build network"}
    assert fakes.run() == (["build network interpreted"], ["network: dbt build failed"])
    tried = [minute for minute in range(1, 100) if fakes.run(minutes=1)[0]]
    assert tried == [1, 3, 7, 15, 31, 61, 91]
    fakes.news["wearables"] = News("load 8")
    fakes.dbt.fails = set()
    assert fakes.run()[0] == ["build wearables", "test wearables"]
    assert fakes.run(minutes=30)[0][:2] == ["build network interpreted", "test network"]
    fakes.dbt.fails = {"build network"}
    assert fakes.run()[1][0] == "network: dbt build failed"
    assert fakes.run(minutes=1)[1][0] == "network: dbt build failed"


def test_red_tests_space_out_the_tests_alone(fakes: Fakes) -> None:
    del fakes.news["wearables"]
    fakes.dbt.fails = {"test network"}
    assert fakes.run() == (
        ["build network interpreted", "test network"],
        ["network: 2 nodes built", "network: dbt test failed"],
    )
    assert fakes.run() == (["build network interpreted"], ["network: 2 nodes built"])
    fakes.news["network"] = News()
    assert fakes.run() == ([], [])
    assert fakes.run(minutes=1)[0] == ["test network"]


@pytest.mark.parametrize(
    ("state", "failure"),
    [
        (State(1, 7, 7, {"pending": ["a", "b"]}), "All nodes are built, but not the domain"),
        (State(1, 7, 7, {"is_being_written": True}), "All nodes are built, but not the domain"),
        (State(1, 8, 7, {}), "All tests are green, but nothing is published"),
        (State(1, 7, 7, {"marts": {"m": 2}, "gold": {"m": 1}}), "All tests are green, but"),
    ],
)
def test_what_dbt_did_not_take_note_of_has_failed(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch, state: State, failure: str
) -> None:
    monkeypatch.setattr(build, "states_of", lambda _: {"network": state})
    del fakes.news["wearables"]
    assert fakes.run()[1][-1].startswith(f"network: {failure}")
    assert fakes.run()[0] in ([], ["build network interpreted"])


def test_a_domain_that_is_held_is_built_and_tested_and_says_so(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = State(9, 8, 4, {"held": 5})
    monkeypatch.setattr(build, "states_of", lambda _: {"network": state})
    del fakes.news["wearables"]
    held = (
        "publishing is held, and readers see load 4; go on with: lakehouse restore network "
        "--release"
    )
    assert fakes.run()[1] == [f"network: 2 nodes built, 2 tests green (1 with a warning), {held}"]
    fakes.news = {}
    assert [done.held for done in fakes.builds.bring_up_to_date()] == [held, ""]


def test_a_process_that_may_build_may_do_so_in_several_commands(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    claim = tmp_path / "engine" / "build.lock"
    other = (
        "import sys; from pathlib import Path; from ingestion.lock import locked\n"
        "with locked(Path(sys.argv[1]), 'builds'): pass\n"
    )

    def is_free() -> bool:
        ended = subprocess.run(
            [sys.executable, "-c", other, claim], capture_output=True, text=True, check=False
        )
        assert not ended.returncode or f"Process {os.getpid()} builds" in ended.stderr
        return not ended.returncode

    with local.only_build(settings):
        with local.only_build(settings):
            pass
        assert not is_free()
    assert is_free()
