"""The network's generator: the same story from the same seed, however it is delivered."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generators.network import story as network
from generators.network.story import (
    CONNECT,
    DISCONNECT,
    START,
    USAGE,
    FileSet,
    deliver,
    sets,
    write,
)
from generators.network.tables import CONNECTIONS, CUSTOMERS, DEVICES, SCHEMAS, SERVERS
from ingestion.declaration import read_declarations
from ingestion.gate import inspect
from ingestion.home import Home
from tests.oracle.network.marts import CONNECTION_REJECTS, MARTS, answers, read_contents

MINUTES = 30
TROUBLE: Mapping[str, Any] = {"late": 0.2, "duplicates": 0.1, "reversed_": True}
MODELS = Path(__file__).parents[2] / "models"
FIELD_REJECTS = {
    "servers": {"capacity_mbps is not a speed"},
    "customers": {"plan_mbps is not a speed", "kind is none of residential, business"},
    "devices": {
        "device_type is none of computer, phone",
        "ipv4 is not a private IPv4 address",
    },
}
ROW_REJECTS = {
    "servers": {
        "server_id is missing",
        "valid_from is missing",
        "valid_from is before the earliest time",
    },
    "customers": {
        "customer_id is missing",
        "valid_from is missing",
        "valid_from is before the earliest time",
    },
    "devices": {
        "device_id is missing",
        "customer_id is missing",
        "registered_at is unreadable",
        "registered_at is in the future",
        "registered_at is before the earliest time",
    },
    "connections": set(CONNECTION_REJECTS),
}


@cache
def told(seed: int = 1, **options: Any) -> tuple[FileSet, ...]:
    return tuple(sets(seed, minutes=MINUTES, **options))


@cache
def rows(**options: Any) -> dict[str, list[pa.Table]]:
    """Delivered rows by table, of the files that the gate lets in."""
    contents: dict[str, list[bytes]] = {table: [] for table in SCHEMAS}
    for files in told(**options):
        for table, named in files.files.items():
            for name, content in named.items():
                if f"{table}/{name}" not in files.refused:
                    contents[table].append(content)
    return read_contents(contents)


@cache
def expected(**options: Any) -> dict[str, Any]:
    return answers(rows(**options), ingested_at=START + timedelta(minutes=MINUTES))


def lines(**options: Any) -> dict[str, Counter[str]]:
    """How often every row of a table is delivered."""
    return {
        table: Counter(repr(row) for part in parts for row in part.to_pylist())
        for table, parts in rows(**options).items()
    }


def paths(files: tuple[FileSet, ...]) -> list[str]:
    """In order of delivery."""
    return [
        f"{table}/{name}"
        for of_set in files
        for table, named in of_set.files.items()
        for name in named
    ]


def test_same_arguments_same_bytes() -> None:
    options = {**TROUBLE, "corrupt": 0.05}
    again = tuple(sets(1, minutes=MINUTES, **options))
    assert again == told(1, **options)
    assert told(2) != told(1)


def test_files_are_in_their_folders_and_hold_what_these_say() -> None:
    found = set()
    for files in told():
        for table, named in files.files.items():
            for name, content in named.items():
                rows_of_file = pq.read_table(io.BytesIO(content))
                assert len(rows_of_file) > 0
                assert rows_of_file.schema.remove_metadata() == SCHEMAS[table]
                assert rows_of_file.schema.metadata is None
                folder = name.rpartition("/")[0]
                found.add(f"{table}/{folder}")
                if folder:
                    kinds = set(rows_of_file["event_type"].to_pylist())
                    is_end = {kind.strip().lower() == "disconnect" for kind in kinds}
                    assert is_end == {folder.endswith("/disconnected")}
    statuses = ("connected", "disconnected")
    folders = {
        f"{CONNECTIONS}/{of}/{status}" for of in ("computer", "phone") for status in statuses
    }
    assert found == {f"{SERVERS}/", f"{CUSTOMERS}/", f"{DEVICES}/"} | folders


def test_a_folder_is_of_its_devices_type() -> None:
    types = {
        row["device_id"]: (row["device_type"] or "").strip().lower()
        for part in rows()[DEVICES]
        for row in part.to_pylist()
    }
    seen = Counter()
    for files in told():
        for name, content in files.files.get(CONNECTIONS, {}).items():
            for device in pq.read_table(io.BytesIO(content))["device_id"].to_pylist():
                seen[name.split("/")[0], types.get(device)] += 1
    assert seen["computer", "computer"] > 0
    assert seen["phone", "phone"] > 0
    assert seen["computer", None] + seen["phone", None] > 0  # of strays
    assert not seen["computer", "phone"] + seen["phone", "computer"]


def test_a_set_holds_the_events_of_its_minute() -> None:
    for files in told():
        times = [
            moment
            for content in files.files.get(CONNECTIONS, {}).values()
            for moment in pq.read_table(io.BytesIO(content))["event_at"].to_pylist()
        ]
        until = START + timedelta(seconds=files.at)
        assert all(until - timedelta(seconds=60) < moment <= until for moment in times)
    assert [files.at for files in told()] == [60.0 * n for n in range(MINUTES + 1)]
    # What is known at the start comes at once.
    assert set(told()[0].files) == {SERVERS, CUSTOMERS, DEVICES}


def test_the_story_has_what_the_marts_must_cope_with() -> None:
    found = expected()
    assert {row["capacity_fault"] for row in found["server_load"]} == {None, "zero", "unknown"}
    assert {row["is_overloaded"] for row in found["server_load"]} == {None, True, False}
    reasons = {row["reason"] for row in found["server_upgrade_candidates"]}
    assert reasons == {
        "fine",
        "overloaded",
        "the capacity has been raised",
        "the capacity is unknown",
        "the capacity is zero",
    }
    assert found["server_upgrade_candidates"][-1]["location"] is None  # never declared
    assert {row["is_heavy"] for row in found["heavy_users"]} == {True, False}
    sold = {row["gets_what_was_sold"] for row in found["subscribed_vs_received"]}
    assert sold == {None, True, False}
    classes = {row["speed_class"] for row in found["bandwidth_summary"]}
    assert classes == {"low", "medium", "high", "unknown", "invalid"}
    types = {row["device_type"] for row in found["bandwidth_summary"]}
    assert types == {"computer", "phone", "unknown"}
    assert all(count > 0 for count in found["unmatched"].values())
    counts = found["entity_counts"]
    assert counts["connections"]["conflicts"] > 0
    assert all(of["duplicates"] == of["row_rejects"] == 0 for of in counts.values())
    assert any(row["devices_peak"] > row["devices_connected"] for row in found["server_load"])


def test_size_grows_with_minutes() -> None:
    counts = []
    for minutes in (60, 120):
        files = sets(1, minutes=minutes, customers=30)
        contents = [content for of in files for content in of.files.get(CONNECTIONS, {}).values()]
        counts.append(sum(pq.read_metadata(io.BytesIO(content)).num_rows for content in contents))
    assert 1500 < counts[0] < 6000
    assert 1.6 < counts[1] / counts[0] < 2.4


def test_received_fits_asked_and_bytes_fit_the_time() -> None:
    samples = [
        row
        for part in rows()[CONNECTIONS]
        for row in part.to_pylist()
        if row["asked_mbps"] is not None
    ]
    assert all(0 <= row["received_mbps"] <= row["asked_mbps"] for row in samples)
    assert all(round(row["asked_mbps"], 3) == row["asked_mbps"] for row in samples)
    # The time since the sample before is half a minute on average, however long it may be once.
    seconds = sum(row["bytes"] for row in samples) * 8 / 1e6
    assert 20 < seconds / sum(row["received_mbps"] for row in samples) < 40
    assert any(row["event_at"].microsecond % 1000 for row in samples)


@pytest.mark.parametrize("options", [{"late": 0.3}, {"duplicates": 0.3}, {"reversed_": True}])
def test_trouble_of_delivery_changes_no_row(options: dict[str, Any]) -> None:
    troubled, clean = lines(**options), lines()
    assert {table: set(found) for table, found in troubled.items()} == {
        table: set(found) for table, found in clean.items()
    }
    assert told(1, **options) != told()
    doubled = sum(sum(found.values()) - len(found) for found in troubled.values())
    assert (doubled > 0) == ("duplicates" in options)


def test_late_doubled_and_reversed_have_the_same_marts() -> None:
    troubled = expected(**TROUBLE)
    for name in (*MARTS, "unmatched", "as_of"):
        assert troubled[name] == expected()[name], name
    for entity, counts in expected()["entity_counts"].items():
        of_troubled = troubled["entity_counts"][entity]
        assert of_troubled["accepted"] == counts["accepted"]
        assert of_troubled["conflicts"] == counts["conflicts"]
        assert of_troubled["duplicates"] > 0


def test_late_events_come_1_to_20_minutes_late() -> None:
    delays = Counter()
    for files in told(1, late=0.3):
        for content in files.files.get(CONNECTIONS, {}).values():
            for moment in pq.read_table(io.BytesIO(content))["event_at"].to_pylist():
                behind = files.at - (moment - START).total_seconds()
                assert 0 <= behind <= 1200 + 60
                delays[behind >= 60] += 1
    # What would come after the end comes in one more set.
    assert [files.at for files in told(1, late=0.3)][-1] == 60.0 * (MINUTES + 1)
    assert 0.25 < delays[True] / delays.total() < 0.35


def test_reversed_sets_and_rows() -> None:
    forward, backward = told(1, late=0.2), told(1, late=0.2, reversed_=True)
    assert len(forward) == len(backward)
    for ahead, back in zip(forward, reversed(backward), strict=True):
        assert set(ahead.files) == set(back.files)
        for table, named in ahead.files.items():
            contents = [
                [pq.read_table(io.BytesIO(content)).to_pylist() for content in of.values()]
                for of in (named, back.files[table])
            ]
            assert contents[0] == [of_file[::-1] for of_file in contents[1]]
    names = [path.rpartition("/")[2] for path in paths(backward)]
    assert names == sorted(names)  # numbered in order of delivery


def test_duplicates_bring_a_whole_file_under_another_name() -> None:
    (again,) = (path for path in paths(told(1, duplicates=0.1)) if path.endswith("-again.parquet"))
    files = {
        f"{table}/{name}": content
        for of_set in told(1, duplicates=0.1)
        for table, named in of_set.files.items()
        for name, content in named.items()
    }
    assert files[again] == files[again.replace("-again", "")]


def test_duplicates_come_in_the_same_file_or_a_later_one() -> None:
    in_files = [
        [repr(row) for row in part.to_pylist()] for part in rows(duplicates=0.1)[CONNECTIONS]
    ]
    in_the_same = sum(len(of_file) - len(set(of_file)) for of_file in in_files)
    found = lines(duplicates=0.1)[CONNECTIONS]
    in_all = found.total() - len(found)
    assert 0.2 < in_the_same / in_all < 0.45
    assert 0.07 < in_all / len(found) < 0.13


def test_corrupt_brings_every_reason_and_changes_no_mart() -> None:
    found = expected(corrupt=0.02)
    for name in (*MARTS, "unmatched", "as_of"):
        assert found[name] == expected()[name], name
    for entity, reasons in ROW_REJECTS.items():
        assert set(found["reject_reasons"][entity]) == reasons | FIELD_REJECTS.get(entity, set())
        counts = found["entity_counts"][entity]
        assert counts["row_rejects"] >= len(reasons)
        assert counts["events_in"] == (
            counts["accepted"] + counts["duplicates"] + counts["row_rejects"]
        )
    clean, broken = lines(), lines(corrupt=0.02)
    assert all(not clean[table] - broken[table] for table in SCHEMAS)


def test_the_gate_refuses_what_is_listed_and_takes_the_rest(tmp_path: Path) -> None:
    home = Home(tmp_path)
    options = {"late": 0.1, "duplicates": 0.1, "corrupt": 0.1}
    delivered = write(home, 1, minutes=3, customers=20, **options)
    declared = read_declarations(MODELS)
    refused = []
    for path in delivered:
        table = path.relative_to(home.inbox).parts[0]
        if inspect(path, declared[table], home.inbox / table).reason:
            refused.append(str(path.relative_to(home.inbox)))
    told = sets(1, minutes=3, customers=20, **options)
    assert sorted(refused) == sorted(name for files in told for name in files.refused)
    assert len(refused) == 2
    assert {name.split("/")[0] for name in refused} == {CONNECTIONS, CUSTOMERS}


def test_the_files_of_the_story_are_written_and_nothing_else(tmp_path: Path) -> None:
    home = Home(tmp_path)
    options = {"minutes": 10, "corrupt": 0.05, **TROUBLE}
    delivered = write(home, 1, **options)
    assert {path: path.read_bytes() for path in delivered} == contents(home, sets(1, **options))
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(delivered)


def contents(home: Home, told: Iterable[FileSet]) -> dict[Path, bytes]:
    """What sets of files hold, by where they are delivered."""
    return {
        home.inbox / table / name: content
        for files in told
        for table, named in files.files.items()
        for name, content in named.items()
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"minutes": 0},
        {"servers": 0},
        {"customers": 0},
        {"late": 1.5},
        {"duplicates": -1},
        {"corrupt": 2},
        {"every": 0},
        {"start": datetime(2026, 1, 1)},  # without a zone
    ],
)
def test_arguments_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        sets(1, **wrong)


@pytest.mark.parametrize(("servers", "customers"), [(1, 1), (3, 2), (4, 1)])
def test_the_smallest_stories(servers: int, customers: int) -> None:
    options = {"servers": servers, "customers": customers, "corrupt": 1.0, "duplicates": 1.0}
    for seed in range(5):
        contents = [
            content
            for files in sets(seed, minutes=1, late=1.0, **options)
            for table, named in files.files.items()
            for name, content in named.items()
            if table == SERVERS and f"{table}/{name}" not in files.refused
        ]
        declared = {
            row["server_id"]
            for part in read_contents({SERVERS: contents})[SERVERS]
            for row in part.to_pylist()
        }
        assert declared - {None} == set(range(101, 101 + servers))


# --- live


def last_moments(told: Iterable[FileSet]) -> dict[float, datetime]:
    """Of the sets with events: the newest event's time, by seconds to the delivery."""
    found = {}
    for files in told:
        contents = files.files.get(CONNECTIONS, {}).values()
        times = [pc.max(pq.read_table(io.BytesIO(content))["event_at"]) for content in contents]
        if times:
            found[files.at] = max(time.as_py() for time in times)
    return found


@pytest.mark.parametrize(
    "begun",
    [
        datetime(2026, 3, 2, 10, 27, 53, 504_609, UTC),  # an orphan is the last of a set
        datetime(2026, 3, 2, 10, 15, 30, 847_394, UTC),  # half a second without an event
    ],
)
def test_each_live_set_ends_with_an_event_of_its_moment(begun: datetime) -> None:
    told = sets(1, minutes=1, customers=400, every=0.5, start=begun, ends_with_event=True)
    moments = {number / 2: begun + timedelta(seconds=number / 2) for number in range(1, 121)}
    assert last_moments(told) == moments


@settings(max_examples=15)
@given(
    st.datetimes(datetime(2015, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    st.integers(0, 99),
    st.sampled_from((0.9, 5, 7, 61)),
    st.sampled_from((0.0, 0.7)),
)
def test_whenever_it_begins_and_whatever_is_late(
    begun: datetime, seed: int, every: float, late: float
) -> None:
    options = {"minutes": 2, "customers": 2, "servers": 1}
    told = sets(seed, start=begun, every=every, late=late, ends_with_event=True, **options)
    last = last_moments(told)
    for number in range(1, int(120 / every) + 1):
        delivered_at = number * round(every * 1e6) / 1e6
        assert last[delivered_at] == begun + timedelta(seconds=delivered_at)


def test_what_is_known_at_the_start_of_a_live_story_may_come_late() -> None:
    told = next(sets(1, minutes=1, late=1, ends_with_event=True))
    assert told.at > 0


def test_a_set_without_an_event_gets_one_of_an_open_session() -> None:
    story = network._Story(1, 60, 1, 1, START, 10)
    ints = partial(np.array, dtype=np.int64)
    # The second session has ended when the first, that began before it, has not.
    start, end = ints([12, 22]), ints([95, 31])
    sessions = network._Sessions(ints([0, 1]), ints([1, 1]), ints([0, 0]), start, end)
    told = ((0, CONNECT, 12), (1, CONNECT, 22), (0, USAGE, 23), (1, DISCONNECT, 31))
    ended = network._ending_sets(story, 10, sessions, network._Happenings(*ints(told).T))
    assert list(zip(ended.session, ended.rank, ended.at, strict=True)) == [
        *((0, USAGE, 10), (0, CONNECT, 20), (1, CONNECT, 22), (0, USAGE, 30)),
        *((1, DISCONNECT, 40), (0, USAGE, 50), (0, USAGE, 60)),
    ]


class Clock:
    """Stands still but for sleep."""

    def __init__(self, now: datetime) -> None:
        self.now = now.timestamp()

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_live_sets_appear_at_their_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path)
    begun = datetime(2026, 3, 2, 10, 27, 53, 504_609, UTC)
    called = begun + timedelta(seconds=20)
    clock, appeared = Clock(called), dict[Path, float]()
    rename = Path.replace

    def noted(path: Path, target: Path) -> Path:
        appeared[target] = clock.now
        return rename(path, target)

    monkeypatch.setattr(network, "time", clock)
    monkeypatch.setattr(Path, "replace", noted)
    delivered = deliver(home, 1, every=0.5, minutes=1, customers=20, now=begun)
    numbers = set()
    for path in delivered:
        number = int(path.stem.rpartition("-")[2])
        numbers.add(number)
        moment = begun + number * timedelta(seconds=0.5)
        # What is past comes at once. A float of today's seconds is exact to a microsecond.
        assert appeared[path] == pytest.approx(max(moment, called).timestamp(), rel=0, abs=1e-5)
    assert numbers == set(range(121))
    assert not list(tmp_path.rglob(".*"))


def test_a_live_story_begins_when_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    before = datetime.now(UTC).replace(microsecond=0)
    path, *_ = deliver(Home(tmp_path), 1, every=60, minutes=1, customers=1)
    told = datetime.strptime(path.stem.split("-")[2], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    assert before <= told <= datetime.now(UTC)


@pytest.mark.parametrize("sets_before", [0, 3])
def test_an_interrupt_ends_the_delivery_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sets_before: int
) -> None:
    home = Home(tmp_path)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        if len(slept) == sets_before:
            raise KeyboardInterrupt
        slept.append(seconds)

    monkeypatch.setattr(time, "sleep", sleep)
    delivered = deliver(home, 1, every=30, minutes=10, customers=20, now=START)
    assert len({path.name for path in delivered}) == sets_before
    told = sets(1, every=30, minutes=10, customers=20, ends_with_event=True)
    assert_delivered(home, delivered, contents(home, islice(told, sets_before)))


def test_an_interrupt_between_two_files_of_a_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    rename, renamed = Path.replace, list[Path]()

    def interrupted(path: Path, target: Path) -> Path:
        if len(renamed) == 4:  # the three files known at the start, and one
            renamed.append(target)
            raise KeyboardInterrupt
        renamed.append(target)
        return rename(path, target)

    monkeypatch.setattr(network, "time", Clock(START))
    monkeypatch.setattr(Path, "replace", interrupted)
    delivered = deliver(home, 1, every=60, minutes=10, customers=20, now=START)
    assert delivered == renamed[:4]
    assert CONNECTIONS in delivered[-1].parts
    told = contents(home, sets(1, every=60, minutes=10, customers=20, ends_with_event=True))
    assert_delivered(home, delivered, {path: told[path] for path in delivered})


def assert_delivered(home: Home, delivered: list[Path], told: Mapping[Path, bytes]) -> None:
    """What was delivered is whole, and no other file is left."""
    assert sorted(delivered) == sorted(told)
    on_disk = [path for path in home.root.rglob("*") if path.is_file()]
    assert {path: path.read_bytes() for path in on_disk} == told


def test_what_was_delivered_is_told_though_it_has_been_taken_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)

    def take_in(_: float) -> None:
        for path in home.inbox.rglob("network-*.parquet"):
            path.unlink()

    monkeypatch.setattr(time, "sleep", take_in)
    delivered = deliver(home, 1, every=30, minutes=2, customers=20, now=START)
    told = sets(1, every=30, minutes=2, customers=20, ends_with_event=True)
    assert sorted(delivered) == sorted(contents(home, told))
