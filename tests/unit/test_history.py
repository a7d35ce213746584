"""Old files among other ways in: what these lack or go on with is not theirs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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


class Bronze:
    """Takes files of one row each from the inbox, and tells what has become of each name."""

    goes_on = False

    def __init__(self, home: Path) -> None:
        self.inbox = home / "inbox" / "a.b"
        self.landed: set[str] = set()
        self.fates: dict[str, tuple[str, str, int, str]] = {}

    def run(self, but: set[tuple[str, str]]) -> Load:
        files = [path for path in sorted(self.inbox.rglob("*")) if path.is_file()]
        for path in files:
            sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
            status = "duplicate" if sha256 in self.landed else "landed"
            self.landed.add(sha256)
            self.fates[str(path.relative_to(self.inbox))] = (status, sha256, 1, "")
            path.unlink()
        return Load(1, [SourceLoad("a.b", rows=len(files))])

    def sql(self, text: str) -> SimpleNamespace:
        rows: list[dict[str, Any]]
        if "count(*)" in text:
            rows = [{"num_rows": len(self.landed)}]
        else:
            rows = [{"name": name, "fate": fate} for name, fate in self.fates.items()]
        return SimpleNamespace(collect=lambda: rows)


def test_what_a_stop_has_left_in_the_inbox_is_not_delivered_again(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name in "xyz":
        (old / name).write_text(name)
    bronze = Bronze(tmp_path)
    files = History(bronze, Home(tmp_path), TABLE, old)  # type: ignore[arg-type]
    files._deliver([("x", old / "x")])
    loads = list(files.take_in(bronze, lambda _: None))  # type: ignore[arg-type]
    assert [source.rows for load in loads for source in load.sources] == [1, 2]
    proof = files.prove()
    assert (proof.files, proof.rows, proof.rows_in_bronze, proof.doubles) == (3, 3, 3, 0)


def test_a_name_may_be_as_long_as_the_disk_allows(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / ("ж" * 127)).write_text("x")  # 254 bytes
    bronze = Bronze(tmp_path)
    files = History(bronze, Home(tmp_path), TABLE, old)  # type: ignore[arg-type]
    list(files.take_in(bronze, lambda _: None))  # type: ignore[arg-type]
    assert files.prove().rows_in_bronze == 1
