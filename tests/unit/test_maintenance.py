"""The clean-up of a table's log, on files that look like one, and what becomes of a mart."""

from __future__ import annotations

import os
import re
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from pyspark.errors import PySparkException

from ingestion.lock import LockedError
from lakehouse import maintenance
from lakehouse.domains import State
from lakehouse.engine import local
from lakehouse.maintenance import TablesKeptUp, align_views, clean_log, keep_up
from lakehouse.settings import Settings

NEWEST = 25
CHECKPOINTS = (10, 20)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Versions 0 to 25, checkpoints at 10 and 20, all of them long ago."""
    for version in range(NEWEST + 1):
        for name in (f"{version:020}.json", f".{version:020}.json.crc", f"{version:020}.crc"):
            (tmp_path / name).touch()
    for version in CHECKPOINTS:
        (tmp_path / f"{version:020}.checkpoint.parquet").touch()
    (tmp_path / "_last_checkpoint").touch()
    for path in tmp_path.iterdir():
        os.utime(path, (0, 0))
    return tmp_path


@pytest.mark.parametrize(
    ("oldest_read", "first"), [(None, 20), (25, 20), (20, 20), (19, 10), (10, 10), (9, 0)]
)
def test_a_version_that_is_read_keeps_its_checkpoint_and_what_follows(
    log: Path, oldest_read: int | None, first: int
) -> None:
    num_files = len(list(log.iterdir()))
    removed = clean_log(log, oldest_read, 1)
    left = sorted(path.name for path in log.iterdir())
    assert len(left) == num_files - removed
    assert [name for name in left if name.endswith(".json")] == [
        f"{version:020}.json" for version in range(first, NEWEST + 1)
    ]
    assert [name for name in left if name.endswith(".parquet")] == [
        f"{version:020}.checkpoint.parquet" for version in CHECKPOINTS if version >= first
    ]
    assert "_last_checkpoint" in left


def test_a_young_checkpoint_removes_nothing(log: Path) -> None:
    checkpoint = log / f"{20:020}.checkpoint.parquet"
    os.utime(checkpoint, (now := time.time(), now))
    assert clean_log(log, None, 1) > 0
    assert (log / f"{10:020}.json").exists()
    assert not (log / f"{9:020}.json").exists()


def view_of(mart: str, version: int) -> str:
    """What Spark tells of the view in which readers see a mart."""
    text = f"select x from gold_build.{mart} version as of {version}"
    return f"Type: VIEW\nView Text: {text}\nView Original Text: {text}\nView Schema Mode: BINDING\n"


class Mart:
    """The engine's mart `m`, of two files, its view in `gold` and its domain's row."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "_delta_log").mkdir()
        self.folder = folder
        self.newest, self.pinned = 7, 7
        self.details: dict[str, Any] = {"marts": {"m": 7, "n": 1}, "gold": {"m": 7, "n": 1}}
        self.done: list[str] = []
        self.catalog = SimpleNamespace(databaseExists=lambda name: name == "gold")
        monkeypatch.setattr(
            maintenance, "states_of", lambda _: {"network": State(4, 9, 8, self.details)}
        )
        monkeypatch.setattr(maintenance, "append_state", self._append)

    def _append(self, _: object, domain: str, state: State, writer: str) -> None:
        assert writer == "upkeep"
        self.details = state.details
        self.done.append(f"{domain} {state.number} {state.built} {state.published}")

    def sql(self, statement: str) -> Any:
        rows: list[Any] = []
        if statement.startswith("describe detail"):
            rows = [{"location": f"file:{self.folder}", "numFiles": 2}]
        elif statement.startswith("describe history"):
            rows = [{"version": self.newest}]
        elif statement == "show table extended in gold like '*'":
            rows = [{"tableName": "m", "information": view_of("m", self.pinned)}]
        elif statement.startswith("optimize"):
            self.newest += 1
            self.done.append("compacted")
            rows = [[{"numFilesRemoved": 2, "numFilesAdded": 1}]]
        elif statement.startswith("select * from gold_build.m version as of"):
            return SimpleNamespace(columns=["x"])
        elif match := re.fullmatch(
            r"alter view gold.m as select x from gold_build.m version as of (\d+)", statement
        ):
            self.pinned = int(match[1])
            self.done.append(f"readers see {self.pinned}")
        else:
            pytest.fail(statement)
        answer = SimpleNamespace(collect=lambda: rows)
        answer.select = lambda _: answer
        return answer


@pytest.fixture
def mart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mart:
    return Mart(tmp_path, monkeypatch)


def test_readers_are_shown_the_compacted_mart_after_it_is_written_down(mart: Mart) -> None:
    assert keep_up(mart, "gold_build.m").compacted == 2  # type: ignore[arg-type]
    assert mart.done == ["compacted", "network 5 9 8", "readers see 8"]
    assert mart.details == {"marts": {"m": 8, "n": 1}, "gold": {"m": 8, "n": 1}}


@pytest.mark.parametrize(
    ("newest", "marts", "gold", "pinned"),
    [
        pytest.param(8, 8, 7, 7, id="built, not published"),
        pytest.param(8, 7, 7, 7, id="a build broke off"),
        pytest.param(8, 8, 8, 7, id="the view is left behind"),
        pytest.param(8, 8, 6, 6, id="gone back to earlier answers"),
    ],
)
def test_a_mart_of_which_readers_do_not_see_the_newest_version_is_left_alone(
    mart: Mart, newest: int, marts: int, gold: int, pinned: int
) -> None:
    mart.newest, mart.pinned = newest, pinned
    mart.details = {"marts": {"m": marts}, "gold": {"m": gold}}
    assert keep_up(mart, "gold_build.m").compacted == 0  # type: ignore[arg-type]
    assert mart.done == []


def test_the_view_follows_what_is_written_down(mart: Mart) -> None:
    align_views(mart)  # type: ignore[arg-type]
    assert mart.done == []
    mart.pinned = 6
    align_views(mart)  # type: ignore[arg-type]
    assert mart.done == ["readers see 7"]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), PySparkException("b")])
def test_landed_files_that_cannot_be_archived_hide_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def broken(*_: object) -> None:
        raise PySparkException("silver.b is broken\nand a stack")

    monkeypatch.setattr(local, "session", lambda _: None)
    monkeypatch.setattr(maintenance, "align_views", lambda _: None)
    monkeypatch.setattr(maintenance, "delta_tables", lambda _: ["silver.b"])
    monkeypatch.setattr(maintenance, "keep_up", broken)
    loads = SimpleNamespace(forget=Mock(side_effect=fault))
    monkeypatch.setattr(maintenance, "Loads", lambda *_: loads)
    done, archived, failures = maintenance.maintain(Settings(home=tmp_path))
    assert (done, archived) == ([], 0)
    assert failures == ["silver.b: silver.b is broken", str(fault)]


class Minutes:
    """Upkeep by a clock of its own, of tables of both kinds."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.seen: list[str] = []
        self.is_building = False
        tables = ["bronze.a", "silver.b", "gold_build.c", "audit.domains", "audit.loads"]
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(local, "session", lambda _: None)
        monkeypatch.setattr(local, "only_build", self._only_build)
        monkeypatch.setattr(maintenance, "delta_tables", lambda _: tables)
        monkeypatch.setattr(maintenance, "keep_up", self._keep_up)
        self._upkeep = TablesKeptUp(
            Settings(home=home), self.seen.append, lambda: self.seen.append("landing"), 2
        )

    def _only_build(self, _: object) -> nullcontext[None]:
        if self.is_building:
            raise LockedError("Process 7 builds")
        return nullcontext()

    def _keep_up(self, _: object, table: str, hours: int) -> SimpleNamespace:
        self.seen.append(f"{table} {hours}")
        return SimpleNamespace(note="")

    def after(self, minutes: int) -> list[str]:
        """What was seen to in so many minutes."""
        self.seen.clear()
        for _ in range(minutes * 12):
            self.now += 5
            self._upkeep.go_on()
        return self.seen.copy()


def test_upkeep_of_what_builds_write_waits_for_them_and_that_of_the_rest_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minutes = Minutes(tmp_path, monkeypatch)
    minutes.is_building = True
    of_ingestion = ["landing", "bronze.a 2", "audit.loads 2"]
    assert minutes.after(6) == of_ingestion * 2
    minutes.is_building = False
    assert minutes.after(4) == [
        "landing",
        *("bronze.a 2", "silver.b 2"),
        *("audit.loads 2", "gold_build.c 2"),
        *("landing", "audit.domains 2"),
    ]
