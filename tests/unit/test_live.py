from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ingestion.declaration import Column, SourceTable
from ingestion.drift import Drift
from ingestion.faults import LoadError
from ingestion.feed import SourceLoad
from ingestion.loads import Load
from ingestion.lock import LockedError
from lakehouse import live
from lakehouse.build import Done
from lakehouse.engine import local
from lakehouse.live import BuildsBeside, Ingestion
from lakehouse.settings import Settings

TABLES = [
    SourceTable("a", name, f"a_{name}", (Column("x", "string"),), "csv", ("x",), "fail")
    for name in ("b", "c")
]


class FakeLoads:
    """Takes in all that may take part, `<feed> <source>`; some fail, or the engine does."""

    def __init__(self) -> None:
        self.made = 0
        self.taken_in: list[list[str]] = []
        self.unfinished: set[str] = set()
        self.waiting: dict[str, float] = {}
        self.failing: set[str] = set()
        self.moving: set[str] = set()
        self.engine_fails = False

    def __call__(self, *_: object) -> FakeLoads:
        self.made += 1
        return self

    def waits_since(self, but: set[tuple[str, str]]) -> float | None:
        out = {" ".join(pair) for pair in but}
        if self.unfinished - out:
            return time.time()
        return min((at for name, at in self.waiting.items() if name not in out), default=None)

    def run(self, but: set[tuple[str, str]]) -> Load | None:
        if self.engine_fails:
            raise LoadError("no engine")
        out = {" ".join(pair) for pair in but}
        names = [f"{feed} {table.full_name}" for table in TABLES for feed in ("files", "kafka")]
        self.taken_in.append([name for name in names if name not in out])
        self.unfinished -= set(self.taken_in[-1])
        self.unfinished |= self.failing & set(self.taken_in[-1])
        return Load(len(self.taken_in), [self._of(table.full_name) for table in TABLES])

    def _of(self, source: str) -> SourceLoad:
        asked = {name.split()[0] for name in self.taken_in[-1] if name.endswith(source)}
        faults = {name.split()[0] for name in self.failing if name.endswith(source)}
        return SourceLoad(
            source,
            asked=asked,
            faults=dict.fromkeys(faults, "broken"),
            moving={name.split()[0] for name in self.moving},
        )


class Loop:
    """The ingestion of a loop, by a clock of its own."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.now = 1000.0
        self.session = "one"
        self.loads = FakeLoads()
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(local, "session", lambda _: self.session)
        monkeypatch.setattr(live, "Loads", self.loads)
        self.ingestion = Ingestion(Settings(home=home), TABLES)


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    return Loop(tmp_path, monkeypatch)


def test_what_an_earlier_loop_left_is_taken_in_at_once(loop: Loop) -> None:
    assert loop.ingestion.due_since() is not None
    assert loop.ingestion.take_in(0)
    assert loop.ingestion.due_since() is None


def test_a_broker_that_fails_is_left_out_longer_and_longer_and_all_else_goes_on(
    loop: Loop,
) -> None:
    loop.loads.waiting = {"files a.b": 5.0, "kafka a.b": 4.0}
    loop.loads.failing = {"kafka a.b"}
    loop.ingestion.take_in(0)
    assert loop.ingestion.due_since() == 5.0
    loop.ingestion.take_in(0)
    others = ["files a.b", "files a.c", "kafka a.c"]
    assert loop.loads.taken_in == [["files a.b", "kafka a.b", *others[1:]], others]
    tried = []
    for minute in range(1, 20):
        loop.now += 60
        # Files come in every round.
        assert loop.ingestion.due_since() is not None
        loop.ingestion.take_in(0)
        tried += [minute] if "kafka a.b" in loop.loads.taken_in[-1] else []
        assert set(loop.loads.taken_in[-1]) >= set(others)
    assert tried == [1, 3, 7, 15]
    loop.loads.waiting = {}
    assert loop.ingestion.due_since() is None
    loop.loads.failing = set()
    loop.now += 3600
    assert loop.ingestion.due_since() is not None
    loop.ingestion.take_in(0)
    loop.loads.waiting = {"kafka a.b": 4.0}
    assert loop.ingestion.due_since() == 4.0


def test_topics_that_move_are_not_left_out_for_one_that_is_missing(loop: Loop) -> None:
    loop.loads.waiting = {"kafka a.b": 4.0}
    loop.loads.failing = {"kafka a.b"}
    loop.loads.moving = {"kafka a.b"}
    loop.ingestion.take_in(0)
    loop.ingestion.take_in(0)
    loop.loads.moving = set()
    loop.ingestion.take_in(0)
    loop.ingestion.take_in(0)
    assert ["kafka a.b" in names for names in loop.loads.taken_in] == [True, True, True, False]


def test_a_failure_of_the_engine_is_tried_again_with_what_the_tables_say(loop: Loop) -> None:
    loop.ingestion.take_in(0)
    loop.ingestion.take_in(0)
    assert loop.loads.made == 1
    loop.loads.engine_fails = True
    with pytest.raises(LoadError):
        loop.ingestion.take_in(0)
    assert loop.ingestion.due_since() is None
    loop.loads.engine_fails = False
    loop.now += 60
    assert loop.ingestion.due_since() is not None
    loop.ingestion.take_in(0)
    assert loop.loads.made == 2


def test_loads_are_made_anew_for_another_session(loop: Loop) -> None:
    loop.ingestion.take_in(0)
    loop.session = "another"
    loop.ingestion.take_in(0)
    assert loop.loads.made == 2


def test_a_look_that_fails_is_left_to_the_round(loop: Loop) -> None:
    loop.ingestion.take_in(0)

    def broken(*_: object) -> None:
        raise OSError("the storage does not answer")

    loop.loads.waits_since = broken  # type: ignore[method-assign]
    assert loop.ingestion.due_since() is not None


def wait(ingestion: object, sign: int = 0) -> float | None:
    return live._wait(
        ingestion,  # type: ignore[arg-type]
        SimpleNamespace(go_on=lambda: None),  # type: ignore[arg-type]
        None,
        SimpleNamespace(sign=sign),  # type: ignore[arg-type]
    )


def test_a_stop_ends_the_wait() -> None:
    assert wait(SimpleNamespace(due_since=lambda: 7.0), sign=2) is None


def test_what_failed_is_tried_again() -> None:
    assert wait(SimpleNamespace(due_since=lambda: 7.0)) == 7.0


def test_a_round_tells_of_failures_other_columns_and_refused_files(loop: Loop) -> None:
    source = SourceLoad("a.b", landed=1, rows=3, quarantined=[("f.csv", "it is empty")])
    source.drifts[Drift(missing=("gym",))] = 2
    load = Load(7, [source, SourceLoad("a.c", faults={"files": "broken"})])
    loop.loads.run = lambda _: load  # type: ignore[method-assign]
    [told, drifted, refused] = loop.ingestion.take_in(time.time() - 2)
    assert told == "load 7: rows 3, 0.0 s, lag 2.0 s; failed: a.c: broken"
    assert drifted == "  a.b: in files of 2 rows: missing: 'gym'"
    assert refused == "  a.b: f.csv: it is empty"
    loop.loads.run = lambda _: None  # type: ignore[method-assign]
    assert loop.ingestion.take_in(0) == []


def eventually(is_so: Callable[[], bool]) -> bool:
    return any(is_so() or time.sleep(0.01) for _ in range(6000))


@pytest.fixture
def child(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The builds beside the loop; the home is locked, so that they have nothing to do."""
    claim = tmp_path / "engine" / "build.lock"
    claim.parent.mkdir()
    with live.local.only_build(Settings(home=tmp_path)):
        as_a_script_begins_it = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
        process = subprocess.Popen(
            [*as_a_script_begins_it, sys.executable, "-m", "lakehouse.live", "60"],
            env=os.environ | {"LAKEHOUSE_HOME": str(tmp_path)},
            stdin=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def test_the_builds_end_with_their_loop(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin
    child.stdin.write(b"\n")
    child.stdin.close()
    assert child.wait(60) == 0


def test_the_builds_begin_anew_and_their_words_are_the_loops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    words = "import os; print('told', os.environ['LAKEHOUSE_HOME'], flush=True); os.read(0, 9)"
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda _, **how: popen([sys.executable, "-c", words], **how)
    )
    builds = BuildsBeside(Settings(home=tmp_path), 60, said.append)
    builds.look_after()
    assert eventually(lambda: said == [f"told {tmp_path}"])
    builds.tell()
    child = builds._child
    assert child
    assert child.wait(60) == 0
    builds.look_after()
    builds.look_after()
    assert said[1:] == ["The builds have ended, status 0; they begin anew."]
    assert builds._child is None
    monkeypatch.setattr(builds._retries, "is_due", lambda _: True)
    builds.look_after()
    assert builds._child is not child
    builds.stop()
    assert builds._child
    assert builds._child.returncode == 0


def test_builds_that_end_now_and_then_are_not_away_for_longer_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, begun = 0.0, []
    ended = SimpleNamespace(poll=lambda: -9, returncode=-9, stdin=None, stdout=())
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: begun.append(now) or ended)
    builds = BuildsBeside(Settings(home=tmp_path), 60, lambda _: None)
    for minutes in (0, 0, 1, 0, 2, 24 * 60, 1):
        now += 60.0 * minutes
        builds.look_after()
    # A minute after the first end, two after the second, and after a day a minute again.
    assert [at / 60 for at in begun] == [0, 1, 3, 24 * 60 + 4]


def test_the_builds_pause_after_their_work_and_else_wait_for_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    did: list[str] = []
    passes: list[list[Done] | Exception] = [
        [Done("network", has_news=True, did=["2 nodes built"], failure="dbt test failed")],
        [Done("network", has_news=True)],
        [Done("network", has_news=False)],
        LockedError("Process 7 builds"),
        LoadError("no engine"),
    ]

    def bring_up_to_date(_: object) -> list[Done]:
        if not passes:
            raise KeyboardInterrupt
        done = passes.pop(0)
        if isinstance(done, Exception):
            raise done
        return done

    event = SimpleNamespace(clear=lambda: None, wait=lambda seconds: did.append(f"wait {seconds}"))
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path))
    monkeypatch.setattr(live.threading, "Event", lambda: event)
    monkeypatch.setattr(live.threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    monkeypatch.setattr(time, "sleep", lambda seconds: did.append(f"sleep {seconds}"))
    monkeypatch.setattr(live.Builds, "bring_up_to_date", bring_up_to_date)
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            live._build_beside(40)
    finally:
        signal.signal(signal.SIGINT, before)
    assert did == ["sleep 40", "sleep 40", "wait 60.0", "sleep 5.0", "sleep 40"]
    assert capsys.readouterr().out.splitlines() == [
        "network: 2 nodes built",
        "network: dbt test failed",
        "The builds failed: no engine",
    ]
