"""What an error of the engine says of a file, and what of the engine; when files are news."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from pyspark.errors import PySparkException

from ingestion import loads
from ingestion.declaration import Column, SourceTable
from ingestion.faults import cause_of, is_of_the_engine
from ingestion.feed import SoFar, SourceLoad
from ingestion.feeds.files import Files
from ingestion.home import Home
from ingestion.loads import Loads

OF_A_FILE = "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file file:/home/landing/{}"


def error(file: str, *causes: str) -> PySparkException:
    stack = "".join(
        f"Caused by: {cause}\n\tat org.apache.spark.SparkSession.open(x)\n" for cause in causes
    )
    return PySparkException(
        f"{OF_A_FILE.format(file)}. SQLSTATE: KD001\n\nJVM stacktrace:\n{stack}"
    )


@pytest.mark.parametrize(
    "cause",
    [
        "java.lang.OutOfMemoryError: Java heap space",
        "java.lang.OutOfMemoryError",
        "java.io.IOException: No space left on device",
        "java.io.IOException: Cannot allocate memory",
        "java.io.FileNotFoundException: /home/x (Too many open files)",
        "java.nio.file.AccessDeniedException: /home/x",
        "java.io.IOException: Input/output error",
        "java.io.IOException: Broken pipe",
        "java.net.ConnectException: Connection refused",
        "java.lang.InterruptedException",
    ],
)
def test_what_the_engine_lacks_is_no_files_fault(cause: str) -> None:
    assert is_of_the_engine(error("a.parquet", cause))
    assert is_of_the_engine(error("a.parquet", "org.apache.spark.SparkException: wrapped", cause))


@pytest.mark.parametrize("name", ["a.parquet", "Cancellations.parquet", "UNAVAILABLE.csv"])
def test_a_files_fault_is_its_own_whatever_it_is_called(name: str) -> None:
    fault = error(
        name, f"java.lang.IllegalStateException: file:/home/{name}: Unsupported encoding: X"
    )
    assert not is_of_the_engine(fault)
    assert "Unsupported encoding: X" in cause_of(fault)


def test_a_lost_connection_is_the_engines() -> None:
    assert is_of_the_engine(PySparkException("<_InactiveRpcError: StatusCode.UNAVAILABLE ...>"))
    assert is_of_the_engine(PySparkException("[INVALID_HANDLE.SESSION_CLOSED] The handle ..."))
    assert cause_of(PySparkException("the reason\nand more")) == "the reason"


class Inbox:
    """The files' feed, without an engine: what has landed before is not asked for."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        table = SourceTable("a", "b", "a_b", (Column("x", "string"),), "csv", ("x",), "fail")
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        spark = SimpleNamespace(sql=lambda _: SimpleNamespace(collect=list))
        self.folder = home / "inbox" / "a.b"
        self.feed = Files(spark, Home(home), [table], SoFar(0, {}, {}))  # type: ignore[arg-type]

    def deliver(self, name: str) -> float:
        file = self.folder / name
        file.write_text("x\n1\n")
        os.utime(file, (0, 0))
        return file.stat().st_ctime


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inbox:
    return Inbox(tmp_path, monkeypatch)


def test_a_file_of_any_age_is_news_as_soon_as_two_looks_see_the_same(inbox: Inbox) -> None:
    assert inbox.feed.waits_since(()) is None
    came = inbox.deliver("old.csv")
    assert came > 0
    assert inbox.feed.waits_since(()) is None
    assert inbox.feed.waits_since(()) == came
    assert inbox.feed.waits_since({"a.b"}) is None


def test_files_that_never_end_are_not_waited_for_longer_than_a_second(inbox: Inbox) -> None:
    came = inbox.deliver("0.csv")
    looks = []
    for number in range(1, 6):
        looks.append(inbox.feed.waits_since(()))
        inbox.deliver(f"{number}.csv")
        inbox.now += 0.3
    assert looks == [None] * 4 + [came]


def test_a_link_to_nowhere_is_news_and_hides_no_file(inbox: Inbox) -> None:
    (inbox.folder / "gone.csv").symlink_to("nowhere")
    (inbox.folder / "loop.csv").symlink_to("loop.csv")
    came = inbox.deliver("old.csv")
    assert inbox.feed.waits_since(()) is None
    since = inbox.feed.waits_since(())
    assert since is not None
    assert since <= came


class Audit:
    """The audit tables in DuckDB, which knows of Spark's SQL what is asked here."""

    def __init__(self, files: list[tuple[Any, ...]], loads: list[tuple[Any, ...]]) -> None:
        self.streams = SimpleNamespace(active=[])
        self.database = duckdb.connect()
        self.database.execute("create macro struct(a, b) as struct_pack(status := a, message := b)")
        self.database.execute("create schema audit")
        for (name, columns), rows in zip(
            {
                "files": "source text, name text, sha256 text, status text, reason text, "
                "load_id bigint",
                "loads": "source text, load_id bigint, status text, message text",
            }.items(),
            (files, loads),
            strict=True,
        ):
            self.database.execute(f"create table audit.{name} ({columns}, recorded_at timestamp)")
            for row in rows:
                marks = ", ".join("?" * len(row))
                self.database.execute(f"insert into audit.{name} values ({marks})", row)

    def sql(self, text: str) -> SimpleNamespace:
        rows = self.database.execute(text).to_arrow_table().to_pylist()
        return SimpleNamespace(collect=lambda: rows)


# The clock is set back by an hour between the loads.
FILES = [
    ("a.b", "f", "came", "left", None, 1, datetime(2026, 1, 1, 12)),
    ("a.b", "f", "came", "landed", None, 2, datetime(2026, 1, 1, 11)),
    ("a.b", "f", "went", "landed", None, 1, datetime(2026, 1, 1, 12)),
    ("a.b", "f", "went", "left", None, 2, datetime(2026, 1, 1, 11)),
    ("a.b", "f", "changed", "landed", None, 2, datetime(2026, 1, 1, 11)),
    ("a.b", "f", "changed", "left", None, 2, datetime(2026, 1, 1, 10)),
]


def test_what_a_later_load_did_counts_whatever_the_clock_said(tmp_path: Path) -> None:
    table = SourceTable("a", "b", "a_b", (Column("x", "string"),), "csv", ("x",), "fail")
    audit = Audit(FILES, [])
    feed = Files(audit, Home(tmp_path), [table], SoFar(2, {"a.b": 2}, {}))  # type: ignore[arg-type]
    assert feed._known == {("a.b", "came")}


def test_a_load_that_was_broken_off_is_seen_whatever_the_clock_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loads, "all_feeds", dict)
    before = [("a.b", 1, "finished", None, datetime(2026, 1, 1, 12))]
    whole = [*before, ("a.b", 2, "finished", None, datetime(2026, 1, 1, 10))]
    for rows, unfinished in ((before, {"a.b"}), (whole, set())):
        found = Loads(Audit(FILES, rows), Home(tmp_path), [])  # type: ignore[arg-type]
        assert found._so_far.unfinished.keys() == unfinished


def test_what_a_load_refused_that_was_broken_off_is_told_by_the_one_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = datetime(2026, 1, 1)
    audit = Audit(
        [
            ("a.b", "told.csv", "1", "quarantined", "it is empty", 1, at),
            ("a.b", "empty.csv", "1", "quarantined", "it is empty", 2, at),
            ("a.b", "again.csv", "1", "quarantined", "it is empty", 2, at),
            ("a.c", "other.csv", "1", "quarantined", "it is empty", 2, at),
        ],
        [("a.b", 1, "failed", "no space", at)],
    )
    feed = Files(audit, Home(tmp_path), [], SoFar(2, {}, {"a.b": {}, "a.c": {}}))  # type: ignore[arg-type]
    goes_on = {"a.b": SourceLoad("a.b", quarantined=[("again.csv", "it is empty")])}
    feed.take_in(3, goes_on)
    assert goes_on["a.b"].quarantined == [
        ("again.csv", "it is empty"),
        ("empty.csv", "it is empty"),
    ]
    later = {name: SourceLoad(name) for name in ("a.b", "a.c")}
    feed.take_in(4, later)
    assert later["a.b"].quarantined == []
    assert later["a.c"].quarantined == [("other.csv", "it is empty")]
