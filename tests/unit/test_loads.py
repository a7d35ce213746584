"""How ways in share a load: one that fails holds off no other, one that goes on leaves it room."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.errors import PySparkException

from ingestion import bronze, loads
from ingestion.declaration import Column, SourceTable
from ingestion.drift import Drift
from ingestion.feed import Feed, SourceLoad
from ingestion.home import Home
from ingestion.loads import Load, Loads, together

TABLES = [
    SourceTable("a", name, f"a_{name}", (Column("x", "string"),), "csv", ("x",), "fail")
    for name in ("b", "c")
]


class Files(Feed):
    """What lands is taken in by the next load that its source takes part in."""

    name = "files"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.inbox: Counter[str] = Counter()
        self.landed: Counter[str] = Counter()
        self.broken = ""

    def news(self, but: Collection[str]) -> dict[str, str | None]:
        return dict.fromkeys(self.inbox.keys() - set(but))

    def begin(self, load_id: int, loads: Mapping[str, SourceLoad]) -> set[str]:
        moved = self.inbox.keys() & loads.keys()
        for name in moved:
            self.landed[name] += self.inbox[name]
            loads[name].waiting += self.inbox.pop(name)
        return moved

    def take_in(self, load_id: int, loads: Mapping[str, SourceLoad]) -> None:
        for name, load in loads.items():
            if self.broken:
                load.fail(self.name, self.broken)
            else:
                self.spark.bronze[name, load_id] += self.landed.pop(name, 0)


class Topics(Feed):
    """A broker of messages, two a load."""

    name = "kafka"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.waiting: Counter[str] = Counter()
        self.broken = ""
        self.asked = 0

    def news(self, but: Collection[str]) -> dict[str, str | None]:
        self.asked += "a.b" not in but
        sources = {"a.b"} if self.broken else self.waiting.keys()
        return dict.fromkeys(sources - set(but), self.broken or None)

    def begin(self, load_id: int, loads: Mapping[str, SourceLoad]) -> set[str]:
        for load in loads.values():
            load.is_exact &= load.source not in self.waiting
        return set()

    def take_in(self, load_id: int, loads: Mapping[str, SourceLoad]) -> None:
        for name in () if self.broken else self.waiting.keys() & loads.keys():
            taken = min(self.waiting[name], 2)
            self.spark.bronze[name, load_id] += taken
            self.waiting -= Counter({name: taken})

    @property
    def goes_on(self) -> bool:
        return bool(self.waiting)


class Engine:
    """Counts what bronze has, and knows what `audit.loads` says of the loads before."""

    def __init__(self, *before: dict[str, Any]) -> None:
        self.before = list(before)
        self.bronze: Counter[tuple[str, int]] = Counter()
        self.streams = SimpleNamespace(active=[])
        self.conf = SimpleNamespace(set=lambda *_: None, unset=lambda _: None)

    def sql(self, text: str) -> SimpleNamespace:
        if "audit.loads" in text:
            return SimpleNamespace(collect=lambda: self.before)
        [load_id] = {int(number) for number in re.findall(r"_load_id = (\d+)", text)}
        sources = re.findall(r"'(\S+)' as source", text)
        counted = [(name, self.bronze[name, load_id]) for name in sources]
        rows = [{"source": name, "num_rows": rows, "num_rescued": 0} for name, rows in counted]
        return SimpleNamespace(collect=lambda: rows)


class Ingestion:
    """Loads of two ways in, and what `audit.loads` receives."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path, *before: Any) -> None:
        self.recorded: list[tuple[Any, ...]] = []
        monkeypatch.setattr(loads, "record", lambda _, __, rows: self.recorded.extend(rows))
        monkeypatch.setattr(loads, "all_feeds", lambda: {"files": Files, "kafka": Topics})
        self.engine = Engine(*before)
        self.loads = Loads(self.engine, Home(home), TABLES)  # type: ignore[arg-type]
        self.files, self.topics = self.loads._feeds
        assert isinstance(self.files, Files)
        assert isinstance(self.topics, Topics)

    def run(self, *but: tuple[str, str]) -> Load:
        load = self.loads.run(but)
        assert load is not None
        return load

    def status(self) -> dict[str, list[Any]]:
        """By source, what was recorded last: status, rows and message."""
        return {source: rest for _, source, *rest, _ in self.recorded if source}


@pytest.fixture
def ingestion(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Ingestion]:
    return Ingestion(monkeypatch, tmp_path)


BROKER = ("kafka", "a.b")


def test_files_come_in_while_the_broker_is_left_out(ingestion: Ingestion) -> None:
    ingestion.topics.broken = "no broker"
    assert not ingestion.loads.has_any
    assert ingestion.run().failed == {BROKER}
    assert ingestion.loads.has_any
    assert ingestion.status() == {"a.b": ["failed", 0, "no broker"]}
    assert ingestion.loads.waits_since({BROKER}) is None
    assert ingestion.loads.run({BROKER}) is None
    ingestion.files.inbox["a.b"] = 3
    load = ingestion.run(BROKER)
    assert ingestion.topics.asked == 1
    # What bronze lacks of the source is said as long as it does.
    assert ingestion.status() == {"a.b": ["failed", 3, "no broker"]}
    assert [source.asked for source in load.sources] == [{"files"}]
    ingestion.topics.broken = ""
    assert ingestion.loads.waits_since(()) is not None
    assert ingestion.run().failed == set()
    assert ingestion.status() == {"a.b": ["finished", 0, None]}
    assert ingestion.loads.run() is None


def test_messages_come_in_while_files_are_left_out_and_do_not_finish_them(
    ingestion: Ingestion,
) -> None:
    ingestion.files.broken = "no space"
    ingestion.files.inbox["a.b"] = 3
    assert ingestion.run().failed == {("files", "a.b")}
    ingestion.topics.waiting["a.b"] = 1
    ingestion.files.broken = ""
    ingestion.run(("files", "a.b"))
    assert ingestion.status() == {"a.b": ["failed", 1, "no space"]}
    ingestion.run()
    assert ingestion.status() == {"a.b": ["finished", 3, None]}


def test_each_way_in_that_fails_is_told(ingestion: Ingestion) -> None:
    ingestion.files.broken, ingestion.topics.broken = "no space", "no broker"
    ingestion.files.inbox.update(["a.b", "a.c"])
    load = ingestion.run()
    assert load.failures == ["a.b: no broker; no space", "a.c: no space"]
    assert load.failed == {BROKER, ("files", "a.b"), ("files", "a.c")}
    ingestion.topics.broken = ""
    assert ingestion.run(("files", "a.b"), ("files", "a.c")).failures == ["a.b: no space"]
    assert ingestion.loads.run({("files", "a.b"), ("files", "a.c")}) is None


def test_other_rows_than_waited_fail_only_who_was_asked(ingestion: Ingestion) -> None:
    ingestion.topics.broken = "no broker"
    ingestion.run()
    ingestion.files.inbox["a.b"] = 3
    ingestion.files.take_in = lambda *_: None  # type: ignore[method-assign]
    load = ingestion.run(BROKER)
    [source] = load.sources
    assert source.faults.keys() == {"files", "kafka"}
    assert source.faults["files"].startswith("bronze received 0 of 3 rows")
    assert load.failed == {BROKER, ("files", "a.b")}


def test_what_a_crash_left_is_tried_by_all_and_not_finished_by_some(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = [
        {"source": f"a.{name}", "load_id": 7, "finished": 6, "last": {"status": of, "message": why}}
        for name, of, why in (("b", "failed", "no broker"), ("c", "begun", None))
    ]
    ingestion = Ingestion(monkeypatch, tmp_path, *before)
    assert ingestion.loads.waits_since(()) is not None
    assert ingestion.run(BROKER, ("files", "a.c")).load_id == 8
    assert ingestion.status() == {
        "a.b": ["failed", 0, "no broker"],
        "a.c": ["failed", 0, "its last load was broken off"],
    }
    ingestion.run()
    assert ingestion.status() == {"a.b": ["finished", 0, None], "a.c": ["finished", 0, None]}


def test_a_long_read_leaves_each_load_to_what_has_come_meanwhile(ingestion: Ingestion) -> None:
    ingestion.topics.waiting["a.b"] = 5
    brought = []
    for _ in range(3):
        load = ingestion.run()
        brought.append({source.source: source.rows for source in load.sources})
        ingestion.files.inbox["a.c"] = 1
        goes_on = ingestion.loads.goes_on
        assert goes_on == (len(brought) < 3)
    assert brought == [{"a.b": 2}, {"a.b": 2, "a.c": 1}, {"a.b": 1, "a.c": 1}]


def test_loads_are_summed_up_by_source() -> None:
    drift = Drift(missing=("gym",))
    first = SourceLoad("a.b", landed=1, rows=3, quarantined=[("f", "empty")])
    first.fail("kafka", "no broker")
    second = SourceLoad("a.b", landed=2, rows=4, duplicates=1, faults={"files": "no space"})
    first.drifts[drift] = second.drifts[drift] = 2
    load = together([Load(4, [first, SourceLoad("a.c", rows=1)]), Load(5, [second])])
    assert load.load_id == 5
    [b, c] = load.sources
    assert (b.landed, b.rows, b.duplicates, b.quarantined) == (3, 7, 1, [("f", "empty")])
    assert (b.drifts, b.failure) == (Counter({drift: 4}), "no broker; no space")
    assert (c.rows, c.failure) == (1, None)


class Query:
    """A query that reports its first batch when it has been looked at so often."""

    def __init__(self, looks: int, fault: str = "", *, ends: bool = False) -> None:
        self.looks, self.fault, self.ends = looks, fault, ends
        self.is_stopped = False

    @property
    def isActive(self) -> bool:  # noqa: N802 - pyspark's
        self.looks -= 1
        assert self.looks > -3, "it is waited for for ever"
        return not self.is_stopped and (self.looks > 0 or not self.ends)

    @property
    def lastProgress(self) -> dict[str, int] | None:  # noqa: N802 - pyspark's
        return None if self.ends or self.looks > 0 else {"batchId": 0}

    def stop(self) -> None:
        self.is_stopped = True

    def awaitTermination(self) -> None:  # noqa: N802 - pyspark's
        assert self.is_stopped
        if self.fault:
            raise PySparkException(self.fault)


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(bronze.time, "sleep", slept.append)
    monkeypatch.setattr(bronze.time, "monotonic", lambda: sum(slept))
    return slept


@pytest.mark.parametrize("ends", [False, True])
def test_a_query_is_ended_after_its_first_batch(slept: list[float], *, ends: bool) -> None:
    query = Query(4, ends=ends)
    bronze.end(query)  # type: ignore[arg-type]
    assert query.is_stopped
    assert len(slept) == 3


def test_a_query_is_stopped_when_patience_ends(slept: list[float]) -> None:
    bronze.end(Query(10**6), patience=1.05)  # type: ignore[arg-type]
    assert len(slept) == 11


def test_what_a_query_failed_of_is_raised(slept: list[float]) -> None:
    with pytest.raises(PySparkException, match="no broker"):
        bronze.end(Query(1, "no broker", ends=True))  # type: ignore[arg-type]
    assert slept == []


@pytest.mark.parametrize("interprets", [True, False])
def test_an_engine_that_takes_no_settings_is_given_none(
    ingestion: Ingestion, tmp_path: Path, interprets: bool
) -> None:
    settings: list[str] = []
    ingestion.engine.conf = SimpleNamespace(
        set=lambda key, _: settings.append(key), unset=lambda _: None
    )
    ingested = Loads(ingestion.engine, Home(tmp_path), TABLES, interprets=interprets)  # type: ignore[arg-type]
    files, _ = ingested._feeds
    assert isinstance(files, Files)
    files.inbox["a.b"] = 3
    assert ingested.run() is not None
    assert bool(settings) is interprets


def test_a_refusal_is_a_line_whatever_the_files_name() -> None:
    load = SourceLoad("a.b")
    load.quarantined.append(("x\nload 2: a.b.csv", "it is empty"))
    assert Load(1, [load]).refusals == ["a.b: x\\nload 2: a.b.csv: it is empty"]
