from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from ingestion.declaration import Column, SourceTable
from ingestion.loads import Load, SourceLoad
from lakehouse import live
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.live import LiveModels, RestOfTheModels, Round
from lakehouse.settings import Settings

TABLE = SourceTable("a", "b", "a_b", (Column("x", "string"),), "csv", ("x",), "refuse")
STATE = {"cut": 1, "sources": {"a.b": 1}, "watermarks": {}, "as_ofs": {}, "feeds": {}}


class FakeDbt:
    """Tells its state as dbt does, unless it has nothing to do or fails."""

    def __init__(self, settings: Settings, pace: str, heard) -> None:
        self.settings = settings
        self.heard = heard
        self.parses = 0
        self.runs: list[tuple[list[str], dict | None]] = []
        self.fate = "done"

    def parse(self) -> None:
        self.parses += 1

    def __call__(self, *arguments: str) -> None:
        with local.only_build(self.settings, "live"):
            pass
        given = os.environ.get("LAKEHOUSE_RUN_STATE")
        sources = [argument for argument in arguments if argument.startswith("source:")]
        self.runs.append((sources, json.loads(given) if given else None))
        if self.fate != "nothing to do":
            self.heard("run state: " + json.dumps(STATE))
        if self.fate == "failed":
            raise LakehouseError("dbt build failed")


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LiveModels:
    monkeypatch.setattr(live, "Dbt", FakeDbt)
    return LiveModels(Settings(home=tmp_path))


def load(number: int, *sources: str) -> Load:
    return Load(number, [SourceLoad(source) for source in sources])


def test_the_state_of_a_run_is_handed_to_the_next_with_its_load(models: LiveModels) -> None:
    models.build(load(1, "a.b"))
    models.build(load(2, "a.b"))
    [first, second] = models._dbt.runs
    assert first[1] is None
    assert second[1] == STATE | {"cut": 2, "sources": {"a.b": 2}}


def test_what_failed_is_owed_and_the_next_run_asks(models: LiveModels) -> None:
    models.build(load(1, "a.b"))
    models._dbt.fate = "failed"
    with pytest.raises(LakehouseError):
        models.build(load(2, "a.c"))
    assert models.owed == {"a.c"}
    assert not models.is_informed
    models._dbt.fate = "done"
    models.build(load(3, "a.b"))
    assert models._dbt.runs[-1] == (["source:a.b+,tag:live", "source:a.c+,tag:live"], None)
    assert models.owed == set()


def test_a_source_without_live_models_loses_no_state(models: LiveModels) -> None:
    models.build(load(1, "a.b"))
    models._dbt.fate = "nothing to do"
    models.build(load(2, "a.c"))
    models._dbt.fate = "done"
    models.build(load(3, "a.b"))
    assert models._dbt.runs[-1][1] == STATE | {"cut": 3, "sources": {"a.b": 3, "a.c": 2}}


def test_after_a_build_by_somebody_else_the_next_run_asks_of_the_project_as_it_is(
    models: LiveModels,
) -> None:
    models.build(load(1, "a.b"))
    parses = models._dbt.parses
    models.build(load(2, "a.b"))
    assert models._dbt.parses == parses
    home = models._dbt.settings.paths.root
    by_hand = (
        "from lakehouse.engine import local; from lakehouse import settings\n"
        "home = settings.load_settings()\n"
    )
    subprocess.run(
        [sys.executable, "-c", f"{by_hand}with local.only_build(home): pass"],
        env=os.environ | {"LAKEHOUSE_HOME": str(home)},
        check=True,
    )
    models.heed_others()
    with local.only_build(models._dbt.settings, "live"):
        pass  # as upkeep has it
    assert not models.is_informed
    models.build(load(3, "a.b"))
    assert models._dbt.runs[-1][1] is None
    assert models._dbt.parses == parses + 1
    assert models.is_informed


class FakeTables:
    """Tables to keep up, by a clock of its own."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.seen: list[str] = []
        self.heeded: list[float] = []
        tables = ["silver.slow", "bronze.a", "gold_build.live", "silver.other"]
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(local, "session", lambda _: None)
        monkeypatch.setattr(live, "delta_tables", lambda _: tables)
        monkeypatch.setattr(live, "keep_up", self._keep_up)
        loads = SimpleNamespace(forget_files=lambda: self.seen.append("landing"))
        now = SimpleNamespace(now=lambda: loads)
        models = SimpleNamespace(
            tables=lambda: {"gold_build.live"}, heed_others=lambda: self.heeded.append(self.now)
        )
        self._upkeep = live.TablesKeptUp(Settings(home=home), now, models, self.seen.append)

    def _keep_up(self, _: object, table: str, hours: int) -> SimpleNamespace:
        self.seen.append(f"{table} {hours}")
        return SimpleNamespace(note="")

    def after(self, minutes: int, *, rest_is_idle: bool) -> list[str]:
        """What was seen to in so many minutes."""
        self.seen.clear()
        for _ in range(minutes * 12):
            self.now += 5
            self._upkeep.go_on(rest_is_idle=rest_is_idle)
        return self.seen


def test_the_tables_of_rounds_have_upkeep_however_long_the_rest_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = FakeTables(tmp_path, monkeypatch)
    turn = ["landing", "bronze.a 2", "gold_build.live 2"]
    assert tables.after(6, rest_is_idle=False) == turn * 2
    assert len(tables.heeded) == 4  # before each claim


def test_where_the_rest_is_idle_both_kinds_of_tables_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = FakeTables(tmp_path, monkeypatch)
    seen = tables.after(6, rest_is_idle=True)
    assert seen == [
        *("landing", "bronze.a 2", "silver.slow 168"),
        *("gold_build.live 2", "silver.other 168"),
    ]


def test_loads_are_made_anew_for_another_session_and_no_other_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = ["one", "one", "another", "another"]
    made = []
    monkeypatch.setattr(local, "session", lambda _: sessions.pop(0))
    monkeypatch.setattr(live, "Loads", lambda *arguments: made.append(arguments) or len(made))
    settings = Settings(home=tmp_path)
    loads = live.LoadsOfTheLoop(settings, [TABLE])
    assert [loads.now(), loads.now(), loads.now()] == [1, 2, 2]
    assert made == [("one", settings.paths, [TABLE]), ("another", settings.paths, [TABLE])]


def wait(home: Path, *, sign: int = 0, unfinished: set[str] | None = None) -> float | None:
    return live._wait(
        Settings(home=home),
        [TABLE],
        loads=SimpleNamespace(unfinished=unfinished or set()),
        live=None,
        stop=SimpleNamespace(sign=sign),
        rest=SimpleNamespace(go_on=lambda: None, is_idle=True),
        upkeep=SimpleNamespace(go_on=lambda rest_is_idle: None),
    )


def test_a_file_of_any_age_is_news(tmp_path: Path) -> None:
    file = tmp_path / "inbox" / "a.b" / "old.csv"
    file.parent.mkdir(parents=True)
    file.write_text("x\n1\n")
    os.utime(file, (0, 0))
    came = file.stat().st_ctime
    assert came > 0
    assert wait(tmp_path) == came


def test_a_stop_ends_the_wait(tmp_path: Path) -> None:
    assert wait(tmp_path, sign=2) is None


def test_what_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_RETRY_SECONDS", 0)
    assert wait(tmp_path, unfinished={"a.b"}) is not None


def test_a_round_tells_of_failures_and_refused_files() -> None:
    source = SourceLoad("a.b", landed=1, rows=3, quarantined=[("f.csv", "it is empty")])
    done = Round(Load(7, [source]), 2.04, 1.0, 2.5, "a.b: broken")
    assert list(done.lines()) == [
        "load 7: rows 3, 2.0 s (ingest 1.0), lag 2.5 s; failed: a.b: broken",
        "  a.b: f.csv: it is empty",
    ]


@pytest.mark.parametrize(
    "handler", [signal.SIG_DFL, signal.SIG_IGN], ids=["by hand", "by a script"]
)
def test_a_build_of_the_rest_whose_loop_is_gone_already_ends(
    tmp_path: Path, handler: signal.Handlers
) -> None:
    with subprocess.Popen(["true"]) as loop:
        pass
    child = subprocess.run(
        [sys.executable, "-m", "lakehouse.live", str(loop.pid), "sbit.gym_logins"],
        env=os.environ | {"LAKEHOUSE_HOME": str(tmp_path)},
        timeout=600,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, handler),
    )
    assert child.returncode == 130
    assert not (tmp_path / "engine").exists()


def is_held(process: subprocess.Popen[bytes]) -> bool:
    return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def eventually(is_so: Callable[[], bool]) -> bool:
    return any(is_so() or time.sleep(0.01) for _ in range(6000))


def test_the_rest_is_held_for_a_round_and_gets_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    rest = RestOfTheModels(Settings(home=tmp_path), say=print)
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            rest._child, rest._started = child, 90.0
            for seconds, held in ((30.0, True), (30.0, True), (5.0, False), (5.0, True)):
                with rest.held():
                    assert eventually(lambda expected=held: is_held(child) == expected)
                    now += seconds
                assert eventually(lambda: not is_held(child))
        finally:
            child.kill()
