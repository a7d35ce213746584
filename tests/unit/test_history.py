"""Old files among other ways in: what these lack or go on with is not theirs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from ingestion.declaration import Column, SourceTable
from ingestion.feed import SourceLoad
from ingestion.home import Home
from ingestion.loads import Load
from lakehouse import history
from lakehouse.errors import LakehouseError
from lakehouse.history import History

TABLE = SourceTable("a", "b", "a_b", (Column("x", "string"),), "csv", ("x",), "fail")


class FakeLoads:
    """Loads of which the ways in fail, and go on for ever."""

    goes_on = True

    def __init__(self, faults: dict[str, str]) -> None:
        self.faults = faults
        self.left_out: list[set[tuple[str, str]]] = []

    def run(self, but: set[tuple[str, str]]) -> Load:
        self.left_out.append(set(but))
        return Load(len(self.left_out), [SourceLoad("a.b", rows=1, faults=self.faults)])


def take_in(home: Path, monkeypatch: pytest.MonkeyPatch, loads: FakeLoads) -> list[Load]:
    """Three batches of a file each."""
    monkeypatch.setattr(history, "_BATCH_FILES", 1)
    old = home / "old"
    old.mkdir()
    for name in "xyz":
        (old / name).write_text(name)
    spark = SimpleNamespace(sql=lambda _: SimpleNamespace(collect=list))
    files = History(spark, Home(home), TABLE, old)  # type: ignore[arg-type]
    return list(files.take_in(loads, lambda _: None))  # type: ignore[arg-type]


def test_a_broker_that_is_down_stops_no_old_files_and_is_asked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = FakeLoads({"kafka": "no broker"})
    assert len(take_in(tmp_path, monkeypatch, loads)) == 1 + 3
    assert loads.left_out == [set(), *[{("kafka", "a.b")}] * 3]


def test_files_that_cannot_be_taken_in_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = FakeLoads({"files": "no space."})
    with pytest.raises(LakehouseError, match=r"no space\. Run it again: it goes on\."):
        take_in(tmp_path, monkeypatch, loads)
    assert len(loads.left_out) == 1
