"""The network's oracle against the cases T1 to T9 and its rules, each worked out by hand."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generators.network.tables import CONNECTIONS, CUSTOMERS, DEVICES, SCHEMAS, SERVERS
from tests.oracle.network.marts import (
    MARTS,
    answers,
    bits_per_second,
    hundredfold_percentile,
    is_private_ipv4,
    read_contents,
    read_files,
    server_status,
    spark_percentile,
    speed_class,
)

DAY = datetime(2026, 3, 2, tzinfo=UTC)
LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)
INGESTED = datetime(2026, 6, 1, tzinfo=UTC)

Row = dict[str, Any]


def at(text: str, days: int = 0) -> datetime:
    """hh:mm:ss on the day, or days after it."""
    hours, minutes, seconds = text.split(":")
    return DAY + timedelta(
        days=days, hours=int(hours), minutes=int(minutes), seconds=float(seconds)
    )


def event(
    kind: str, when: str | datetime, *, session: int = 1, device: int = 1, server: int = 1
) -> Row:
    moment = when if isinstance(when, datetime) else at(when)
    return {
        "event_id": int((moment - DAY) / timedelta(microseconds=1)),
        "session_id": session,
        "device_id": device,
        "server_id": server,
        "event_type": kind,
        "event_at": moment,
    }


def connect(when: str | datetime, **of: int) -> Row:
    return event("connect", when, **of)


def disconnect(when: str | datetime, **of: int) -> Row:
    return event("disconnect", when, **of)


def usage(
    when: str | datetime,
    received: float | None,
    asked: float | None = 100.0,
    size: int | None = 1,
    **of: int,
) -> Row:
    measures = {"asked_mbps": asked, "received_mbps": received, "bytes": size}
    return event("usage", when, **of) | measures


def steady(received: float, since: str, until: str, **of: int) -> list[Row]:
    """Samples every half minute, which leave no gap."""
    first, last = at(since), at(until)
    times = [
        first + timedelta(seconds=30 * n) for n in range(math.ceil((last - first).seconds / 30))
    ]
    return [usage(moment, received, **of) for moment in times]


def server(
    number: int, capacity: float | None, since: datetime = LONG_AGO, place: str = "A"
) -> Row:
    return {
        "server_id": number,
        "location": place,
        "capacity_mbps": capacity,
        "valid_from": since,
    }


def customer(
    number: int, plan: float | None, since: datetime = LONG_AGO, kind: str | None = "residential"
) -> Row:
    return {
        "customer_id": number,
        "kind": kind,
        "name": "N",
        "address": "A",
        "plan_mbps": plan,
        "valid_from": since,
    }


def device(
    number: int, owner: int, since: datetime | None = LONG_AGO, kind: str | None = "phone"
) -> Row:
    return {
        "device_id": number,
        "customer_id": owner,
        "device_type": kind,
        "ipv4": "10.0.0.1",
        "registered_at": since,
    }


def tables(
    connections: Iterable[Row] = (),
    servers: Iterable[Row] = (),
    customers: Iterable[Row] = (),
    devices: Iterable[Row] = (),
) -> dict[str, list[pa.Table]]:
    rows = {SERVERS: servers, CUSTOMERS: customers, DEVICES: devices, CONNECTIONS: connections}
    return {
        name: [pa.Table.from_pylist(list(of_table), SCHEMAS[name])]
        for name, of_table in rows.items()
    }


def work_out(
    connections: Iterable[Row] = (),
    *,
    servers: Iterable[Row] = (),
    customers: Iterable[Row] = (),
    devices: Iterable[Row] = (),
    as_of: str | datetime | None = None,
    timezone: str = "UTC",
) -> dict[str, Any]:
    found = answers(
        tables(connections, servers, customers, devices),
        ingested_at=INGESTED,
        as_of=at(as_of) if isinstance(as_of, str) else as_of,
        timezone=timezone,
    )
    json.dumps(found, allow_nan=False)  # what cannot be written is no answer
    return found


def picked(row: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def column(found: Mapping[str, Any], mart: str, *names: str) -> list[Any]:
    rows = [picked(row, *names) for row in found[mart]]
    return [row[0] for row in rows] if len(names) == 1 else rows


def unmatched(found: Mapping[str, Any]) -> tuple[int, ...]:
    """Unregistered devices, unknown servers, disconnects and usage without a connect."""
    return tuple(found["unmatched"].values())


def accounts(found: Mapping[str, Any], entity: str = "connections") -> tuple[int, ...]:
    counts = found["entity_counts"][entity]
    assert counts["events_in"] == counts["accepted"] + counts["duplicates"] + counts["row_rejects"]
    return tuple(counts.values())


def parquet(rows: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(rows, sink)
    return sink.getvalue()


# --- the cases


def test_t1_the_same_file_twice_and_the_same_row_twice(tmp_path: Path) -> None:
    (events,) = tables([connect("10:00:00"), usage("10:00:10", 5)])[CONNECTIONS]
    (tmp_path / "a.parquet").write_bytes(parquet(events))
    (tmp_path / "b.parquet").write_bytes(parquet(events))
    (tmp_path / "c.parquet").write_bytes(parquet(events.slice(1)))
    once = read_files({CONNECTIONS: [tmp_path / "a.parquet"]})
    same_file = read_files({CONNECTIONS: sorted(tmp_path.glob("[ab].parquet"))})
    same_row = read_files({CONNECTIONS: sorted(tmp_path.glob("*.parquet"))})
    found = [answers(t, ingested_at=INGESTED) for t in (once, same_file, same_row)]
    assert [accounts(each)[:3] for each in found] == [(2, 2, 0), (2, 2, 0), (3, 2, 1)]
    assert found[0]["table_counts"][CONNECTIONS] == {"events_in": 2}
    for mart in MARTS:
        assert found[0][mart] == found[1][mart] == found[2][mart]


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (0.0, "low"),
        (20.0, "low"),
        (20.000001, "medium"),
        (20.5, "medium"),
        (100.0, "medium"),
        (100.5, "high"),
        (None, "unknown"),
        (-1.0, "invalid"),
        (math.nan, "invalid"),
        (1e9 + 1, "invalid"),
    ],
)
def test_t2_speed_classes(plan: float | None, expected: str) -> None:
    bps = bits_per_second(plan)
    assert speed_class(bps, plan is not None and bps is None) == expected
    found = work_out([connect("10:00:00")], customers=[customer(7, plan)], devices=[device(1, 7)])
    assert column(found, "bandwidth_summary", "device_type", "speed_class") == [("phone", expected)]


def test_t2_without_a_customer_or_a_version_the_class_is_unknown() -> None:
    events = [connect("10:00:00", device=1), connect("10:00:00", device=2)]
    found = work_out(events, customers=[customer(7, 50.0)], devices=[device(1, 8)])
    assert column(found, "bandwidth_summary", "device_type", "speed_class") == [
        ("phone", "unknown"),
        ("unknown", "unknown"),
    ]


def test_t3_a_disconnect_in_any_order_of_arrival() -> None:
    events = [connect("10:00:00"), disconnect("10:00:05")]
    for order in permutations(events):
        found = work_out(order)
        (row,) = found["server_load"]
        assert picked(row, "devices_connected", "devices_peak") == (0, 1)
        assert unmatched(found) == (2, 2, 0, 0)


def test_t3_a_disconnect_without_a_connect() -> None:
    found = work_out([disconnect("10:00:05"), connect("10:00:10", session=2, device=2)])
    (row,) = found["server_load"]
    assert picked(row, "devices_connected", "devices_peak") == (1, 1)
    assert unmatched(found) == (2, 2, 1, 0)
    twice = work_out([connect("10:00:00"), disconnect("10:00:05"), disconnect("10:00:06")])
    assert unmatched(twice) == (3, 3, 1, 0)


def test_t4_bandwidth_falls_after_a_disconnect() -> None:
    found = work_out(
        [
            usage("10:00:00", 60.0),
            disconnect("10:00:20"),
            usage("10:00:00", 40.0, session=2, device=2),
            usage("10:00:30", 40.0, session=2, device=2),
        ],
        as_of="10:00:55",
    )
    (row,) = found["server_load"]
    # 12 instants to second 55: 60 at 0, 5, 10, 15 and 40 at all, so 720 / 12; of the sorted eight
    # 40 and four 100, place 0.95 * 11 lies between two 100.
    assert picked(row, "bandwidth_used_mbps", "bandwidth_p95_mbps") == (60.0, 100.0)
    assert picked(row, "devices_connected", "devices_peak") == (1, 2)


def test_t5_half_a_file_cannot_be_read() -> None:
    (events,) = tables([connect("10:00:00")])[CONNECTIONS]
    content = parquet(events)
    with pytest.raises(pa.ArrowInvalid):
        read_contents({CONNECTIONS: [content[: len(content) // 2]]})


def test_t6_open_across_midnight_and_at_the_report_time() -> None:
    events = [connect("23:59:30"), usage("23:59:30", 8.0), usage(at("00:00:20", 1), 4.0)]
    found = work_out(
        events, customers=[customer(7, 50.0)], devices=[device(1, 7)], as_of=at("00:00:50", 1)
    )
    first, second = found["bandwidth_summary"]
    # Day one: 8 for 30 s, of 86,400 s. Day two: 8 for 20 s and 4 for 30 s, of 50 s.
    assert picked(first, "date", "devices_connected") == ("2026-03-02", 1)
    assert first["bandwidth_mbps"] == pytest.approx(240 / 86_400, rel=1e-15)
    assert picked(second, "date", "devices_connected", "bandwidth_mbps") == ("2026-03-03", 0, 5.6)
    assert picked(second, "share_of_bandwidth", "share_of_high_speed_customers") == (1.0, 0.0)
    names = ("date", "received_p50_mbps", "share_of_time_short")
    assert column(found, "subscribed_vs_received", *names) == [
        ("2026-03-02", 8.0, 1.0),
        ("2026-03-03", 6.0, 1.0),  # two pieces, 4 and 8
    ]


def test_t6_a_day_begins_at_midnight_of_the_report_timezone() -> None:
    midnight = datetime(2026, 3, 2, 8, tzinfo=UTC)  # in California
    events = [usage(midnight - timedelta(seconds=10), 3.0, device=1)]
    found = work_out(
        events,
        customers=[customer(7, 50.0)],
        devices=[device(1, 7)],
        as_of=midnight + timedelta(seconds=20),
        timezone="America/Los_Angeles",
    )
    # 3 for 10 s of the day before and for 20 s of the 20 s since midnight.
    names = ("date", "bandwidth_mbps")
    assert column(found, "bandwidth_summary", *names)[1] == ("2026-03-02", 3.0)
    assert column(found, "bandwidth_summary", *names)[0][0] == "2026-03-01"
    assert column(found, "heavy_users", "date") == ["2026-03-01"]
    assert column(found, "subscribed_vs_received", "date") == ["2026-03-01", "2026-03-02"]


def test_t6_no_bandwidth_of_a_day_that_has_just_begun() -> None:
    (row,) = work_out([usage(at("00:00:00", 1), 3.0)])["bandwidth_summary"]
    assert picked(row, "date", "bandwidth_mbps", "share_of_bandwidth") == ("2026-03-03", None, None)


def test_t7_each_instant_against_its_own_capacity() -> None:
    found = work_out(
        steady(90.0, "10:00:00", "10:05:00"),
        servers=[server(1, 100.0), server(1, 200.0, at("10:02:30"), "B")],
        as_of="10:04:59",
    )
    (row,) = found["server_load"]
    # 30 instants of 90 / 100 and 30 of 90 / 200: (27 + 13.5) / 60. 90 is under 80 % of 200.
    assert picked(row, "usage_rate", "capacity_fault", "is_overloaded") == (0.675, None, False)
    assert picked(row, "capacity_mbps", "location") == (200.0, "B")


def test_t7_the_share_of_each_instant_is_rounded() -> None:
    servers = [server(1, 0.7), server(1, 0.9, at("10:00:05")), server(1, 0.7, at("10:00:10"))]
    events = [usage("10:00:00", 0.1), usage("10:00:05", 0.2), usage("10:00:10", 0.4)]
    (row,) = work_out(events, servers=servers)["server_load"]
    # 0.1 / 0.7, 0.2 / 0.9 and 0.4 / 0.7, each at 17 decimals: 0.14285714285714286 +
    # 0.22222222222222222 + 0.57142857142857143.
    assert row["usage_rate"] == 0.93650793650793651 / 3


def test_t7_a_rate_is_rounded_at_17_decimals() -> None:
    (row,) = work_out([usage("10:00:00", 1e-6)], servers=[server(1, 6e8)])["server_load"]
    assert row["usage_rate"] == 1.67e-15  # 1 of 6e14 bits per second


@pytest.mark.parametrize(
    ("servers", "fault"),
    [
        ([], "unknown"),
        ([server(1, None)], "unknown"),
        ([server(1, 0.0)], "zero"),
        ([server(1, 100.0), server(1, 0.0, at("10:00:10"))], "zero"),
        ([server(1, 0.0), server(1, None, at("10:00:10"))], "unknown"),
        ([server(1, None), server(1, 100.0, at("10:00:05"))], "unknown"),
        ([server(1, 100.0), server(1, 0.0, at("10:00:11"))], None),
        ([server(1, 100.0, at("11:00:00"))], None),  # the first holds before too
    ],
)
def test_t7_no_capacity_no_rate(servers: list[Row], fault: str | None) -> None:
    found = work_out([usage("10:00:00", 5.0), usage("10:00:10", 5.0)], servers=servers)
    (row,) = found["server_load"]
    flagged = fault is not None
    assert row["capacity_fault"] == fault
    assert (row["usage_rate"] is None) == (row["is_overloaded"] is None) == flagged
    assert row["bandwidth_used_mbps"] == 5.0
    assert unmatched(found)[1] == (0 if servers else 2)


def test_t8_each_sample_against_the_plan_of_its_time() -> None:
    events = [
        usage("09:58:00", 9.5, 50.0),
        usage("10:01:00", 9.5, 50.0),
        disconnect("10:01:20"),
    ]
    found = work_out(
        events,
        customers=[customer(7, 10.0), customer(7, 100.0, at("10:00:00"))],
        devices=[device(1, 7)],
    )
    (row,) = found["subscribed_vs_received"]
    # 9.5 is 80 % of 10, which was sold; 20 s later on it is not of the 50 asked for: 20 of 80 s.
    # 100 holds for 14 hours of the day, 10 for 10.
    assert picked(row, "plan_mbps", "share_of_time_short") == (100.0, 0.25)
    assert row["gets_what_was_sold"] is False
    assert column(found, "bandwidth_summary", "speed_class") == ["low", "medium"]


# --- sessions


def test_a_session_is_lost_after_exactly_15_minutes() -> None:
    for end, orphans, peak in (("10:15:00", 1, 0), ("10:14:59.999999", 0, 1)):
        found = work_out([connect("10:00:00"), disconnect(end)])
        assert unmatched(found)[2] == orphans
        assert max(column(found, "server_load", "devices_peak")) == peak
    for report, connected in (("10:15:00", 0), ("10:14:59.999999", 1)):
        found = work_out([connect("10:00:00")], as_of=report)
        assert set(column(found, "server_load", "devices_connected")) == {connected}


def test_a_lost_session_was_open_to_its_last_event() -> None:
    events = [connect("10:00:00"), usage("10:02:00", 5.0), usage("10:20:00", 5.0)]
    found = work_out(events)
    names = ("devices_connected", "devices_peak", "bandwidth_used_mbps")
    # The sample of 10:02 stands for nothing, that of 10:20:00 at the one instant of its window.
    assert column(found, "server_load", *names) == [(0, 1, 0.0), (1, 1, 5.0)]
    assert unmatched(found)[3] == 1


def test_a_sample_stands_for_60_seconds_at_most() -> None:
    found = work_out([usage("10:00:00", 12.0), disconnect("10:05:00")], as_of="10:05:00")
    # At 0, 5 ... 55, of 60 instants.
    assert column(found, "server_load", "bandwidth_used_mbps") == [2.4, 0.0]
    (row,) = found["bandwidth_summary"]
    assert row["bandwidth_mbps"] == pytest.approx(12 * 60 / (10 * 3600 + 300), rel=1e-15)


def test_in_one_microsecond_connect_is_before_usage_before_disconnect() -> None:
    moment = "10:00:00"
    for order in permutations([connect(moment), usage(moment, 5.0), disconnect(moment)]):
        found = work_out(order)
        assert unmatched(found) == (3, 3, 0, 0)
        (row,) = found["server_load"]
        assert picked(row, "devices_connected", "devices_peak", "bandwidth_used_mbps") == (0, 0, 0)
    again = work_out([connect("09:59:00"), disconnect(moment), connect(moment, session=2)])
    names = ("devices_connected", "devices_peak")
    assert column(again, "server_load", *names) == [(1, 1), (1, 1)]
    # In the same session the disconnect is the last word.
    same = work_out([connect("09:59:00"), disconnect(moment), connect(moment)])
    assert column(same, "server_load", *names) == [(1, 1), (0, 0)]


def test_sessions_differ_by_server_session_and_device() -> None:
    events = [
        connect("10:00:00"),
        *(disconnect("10:00:10", **other) for other in ({"server": 2}, {"session": 2})),
        disconnect("10:00:10", device=2),
    ]
    found = work_out(events)
    assert unmatched(found)[2] == 3
    names = ("server_id", "devices_connected")
    assert column(found, "server_load", *names) == [(1, 1), (2, 0)]


def test_one_device_with_two_sessions_is_one_device() -> None:
    events = [
        connect("10:00:00"),
        connect("10:01:00", session=2),
        disconnect("10:02:00"),
        connect("10:03:00", device=2),
        disconnect("10:04:00", session=2),
    ]
    (row,) = work_out(events, as_of="10:04:30")["server_load"]
    assert picked(row, "devices_connected", "devices_peak") == (1, 2)
    (row,) = work_out(events[:3], as_of="10:02:30")["server_load"]
    assert picked(row, "devices_connected", "devices_peak") == (1, 1)


@pytest.mark.parametrize(
    ("end", "connected"),
    [("10:05:00", [1, 0]), ("10:04:59.999999", [0]), ("10:05:00.000001", [1, 0])],
)
def test_connected_is_who_is_open_in_the_last_microsecond(end: str, connected: list[int]) -> None:
    found = work_out([connect("10:00:00"), disconnect(end)])
    assert column(found, "server_load", "devices_connected") == connected
    peaks = column(found, "server_load", "devices_peak")
    # A session that ends with the window is not open at the next one's first moment.
    assert peaks == ([1, 1] if end == "10:05:00.000001" else [1, 0][: len(peaks)])


# --- server_load


def test_a_window_in_which_a_session_is_open_is_a_row_without_an_event_too() -> None:
    found = work_out([usage("10:02:00", 6.5), connect("10:16:00", server=2)])
    rows = [row for row in found["server_load"] if row["server_id"] == 1]
    names = ("window_start", "bandwidth_used_mbps", "devices_connected", "last_event_at")
    # 6.5 at 12 of 60 instants. Still open at 10:16, after 14 minutes.
    assert [picked(row, *names) for row in rows] == [
        ("2026-03-02T10:00:00.000000Z", 1.3, 1, "2026-03-02T10:02:00.000000Z"),
        ("2026-03-02T10:05:00.000000Z", 0.0, 1, None),
        ("2026-03-02T10:10:00.000000Z", 0.0, 1, None),
        ("2026-03-02T10:15:00.000000Z", 0.0, 1, None),
    ]
    (other,) = (row for row in found["server_load"] if row["server_id"] == 2)
    assert other["window_start"] == "2026-03-02T10:15:00.000000Z"


def windows(found: Row) -> list[tuple[str, int]]:
    """Of each window in `server_load` the minute of its day, and the devices connected."""
    rows = column(found, "server_load", "window_start", "devices_connected")
    return [(start[11:16], connected) for start, connected in rows]


def test_a_silent_session_says_connected_until_it_is_lost() -> None:
    events = [usage("10:00:00", 5.0)]
    still_open = [("10:00", 1), ("10:05", 1), ("10:10", 1)]
    assert windows(work_out(events, as_of="10:14:00")) == still_open
    assert windows(work_out(events, as_of="10:15:00")) == [("10:00", 0)]
    assert windows(work_out(events, as_of="10:20:00")) == [("10:00", 0)]


@pytest.mark.parametrize(
    ("end", "starts"),
    [
        ("10:09:59.999999", ["10:00", "10:05"]),
        ("10:10:00", ["10:00", "10:05", "10:10"]),  # open no longer, but it has the event
    ],
)
def test_a_window_is_there_from_the_connect_to_the_disconnect(end: str, starts: list[str]) -> None:
    found = work_out([connect("10:00:00"), disconnect(end)], as_of="10:30:00")
    assert [start for start, _ in windows(found)] == starts


def test_t9_years_between_two_events_are_no_rows() -> None:
    longest_ago = datetime(2015, 1, 1, tzinfo=UTC)
    found = work_out([usage(longest_ago, 5.0), connect("10:00:00")], servers=[server(1, 100.0)])
    assert column(found, "server_load", "window_start") == [
        "2015-01-01T00:00:00.000000Z",
        "2026-03-02T10:00:00.000000Z",
    ]
    # 8,640 windows, of which one has a row.
    names = ("usage_rate_p95", "reason")
    assert column(found, "server_upgrade_candidates", *names) == [(0.0, "fine")]


def test_p95_between_two_values() -> None:
    events = [usage("10:00:00", 10.0), usage("10:00:05", 20.0), usage("10:00:10", 40.0)]
    (row,) = work_out(events, servers=[server(1, 47.5)])["server_load"]
    # Place 0.95 * 2 of 10, 20, 40: 20 * 0.1 + 40 * 0.9 = 38, which is exactly 80 % of 47.5.
    assert picked(row, "bandwidth_p95_mbps", "is_overloaded") == (38.0, True)
    assert row["bandwidth_used_mbps"] == pytest.approx(70 / 3, rel=1e-15)
    (row,) = work_out(events, servers=[server(1, 47.500001)])["server_load"]
    assert row["is_overloaded"] is False


def test_instants_are_multiples_of_five_seconds() -> None:
    events = [usage("10:00:00.000001", 7.0), disconnect("10:00:10")]
    (row,) = work_out(events, as_of="10:00:14")["server_load"]
    assert row["bandwidth_used_mbps"] == pytest.approx(7 / 3, rel=1e-15)  # at 5, not 0 and 10
    (row,) = work_out([usage("10:00:00", 7.0)], as_of="10:00:04.999999")["server_load"]
    assert row["bandwidth_used_mbps"] == 7.0  # at 0 alone


def test_a_sample_across_two_windows() -> None:
    found = work_out([usage("10:04:40", 6.0)], as_of="10:09:55")
    # 40 to 55 in the first, 4 of 60; 0 to 35 in the second, 8 of 60.
    assert column(found, "server_load", "bandwidth_used_mbps") == [0.4, 0.8]


def test_sums_of_the_fastest_samples() -> None:
    events = [usage("10:00:00", 1e6, session=n) for n in range(10_000)]
    (row,) = work_out(events, servers=[server(1, 1e6)])["server_load"]
    assert picked(row, "bandwidth_used_mbps", "usage_rate") == (1e10, 10_000.0)


# --- server_status

CONNECTED = ("devices_connected", "bandwidth_used_mbps")
CAPACITY = ("location", "capacity_mbps", "usage_rate", "is_overloaded")


def status(
    connections: Iterable[Row] = (), servers: Iterable[Row] = (), until: str | None = None
) -> list[Row]:
    found = server_status(
        tables(connections, servers), ingested_at=INGESTED, until=at(until) if until else None
    )
    json.dumps(found, allow_nan=False)
    return found


def test_status_of_nothing() -> None:
    assert status() == server_status({}, ingested_at=INGESTED) == []


def test_status_after_one_connect() -> None:
    (row,) = status([connect("10:00:00", server=5)], [server(5, 100.0)])
    assert list(row.items()) == [
        ("server_id", 5),
        ("location", "A"),
        ("as_of", "2026-03-02T10:00:00.000000Z"),
        ("devices_connected", 1),
        ("bandwidth_used_mbps", 0.0),
        ("capacity_mbps", 100.0),
        ("usage_rate", 0.0),
        ("is_overloaded", False),
        ("last_event_at", "2026-03-02T10:00:00.000000Z"),
    ]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([usage("10:00:00", 6.0)], (1, 6.0)),
        ([usage("09:59:00.000001", 6.0)], (1, 6.0)),
        ([usage("09:59:00", 6.0)], (1, 0.0)),  # a sample stands for less than 60 s
        ([connect("09:45:00.000001")], (1, 0.0)),
        ([connect("09:45:00")], (0, 0.0)),  # 15 minutes of silence
        ([connect("09:40:00"), usage("09:54:00", 6.0)], (1, 0.0)),
        ([usage("09:59:30", 6.0), usage("09:59:40", 7.0)], (1, 7.0)),
        ([usage("09:59:30", 6.0), connect("09:59:40")], (1, 0.0)),  # no usage is its last word
        ([usage("09:59:30", 6.0), disconnect("09:59:40")], (0, 0.0)),
        ([disconnect("09:59:30"), usage("09:59:30", 6.0), connect("09:59:30")], (0, 0.0)),
        ([disconnect("09:59:30"), usage("09:59:40", 6.0)], (1, 6.0)),
        # Of two samples at one moment, the one that received more.
        ([usage("09:59:30", 8.0) | {"event_id": n} for n in (1, 2)], (1, 8.0)),
        ([usage("09:59:30", 8.0) | {"event_id": 1}, usage("09:59:30", 7.0)], (1, 8.0)),
        # Two sessions of a device, then one of it; a device of two servers.
        ([usage("09:59:30", 6.0), usage("09:59:40", 7.0, session=2)], (1, 13.0)),
        ([usage("09:59:30", 6.0), disconnect("09:59:40", session=2)], (1, 6.0)),
        ([usage("09:59:30", 6.0), usage("09:59:40", 7.0, device=3)], (2, 13.0)),
        ([usage("09:59:30", 6.0), disconnect("09:59:40", server=2)], (1, 6.0)),
    ],
)
def test_status_at_10_o_clock(events: list[Row], expected: tuple[int, float]) -> None:
    elsewhere = disconnect("10:00:00", server=9, device=9)
    for order in permutations([*events, events[0], elsewhere]):  # the first comes twice
        row, *_ = status(order)
        assert picked(row, *CONNECTED) == expected
        assert row["as_of"] == "2026-03-02T10:00:00.000000Z"


def test_a_late_event_changes_the_status_of_the_moment() -> None:
    known = [usage("09:59:30", 6.0), connect("10:00:00", server=2)]
    assert picked(status(known)[0], *CONNECTED) == (1, 6.0)
    late = status([*known, disconnect("09:59:50")])[0]
    assert picked(late, *CONNECTED, "last_event_at") == (0, 0.0, "2026-03-02T09:59:50.000000Z")


def test_a_clock_that_runs_ahead_ends_no_session() -> None:
    events = [
        usage("09:59:30", 6.0),
        usage("10:00:00", 7.0, device=2),
        usage("10:50:00", 9.0, device=3),  # told at 10:00
    ]
    names = (*CONNECTED, "as_of", "last_event_at")
    ahead, now = "2026-03-02T10:50:00.000000Z", "2026-03-02T10:00:00.000000Z"
    for until in ("10:00:00", "10:00:02", "10:49:59.999999"):
        assert picked(status(events, until=until)[0], *names) == (2, 13.0, now, ahead)
    for bound in ("10:50:00", None):
        assert picked(status(events, until=bound)[0], *names) == (1, 9.0, ahead, ahead)
    # Its own session is as it was.
    events = [usage("10:00:00", 5.0), disconnect("10:00:00.000001")]
    (row,) = status(events, until="10:00:00")
    assert picked(row, *CONNECTED) == (1, 5.0)


def test_before_any_event_the_first_version_holds() -> None:
    servers = [server(1, 200.0, at("09:00:00"), "B"), server(1, 100.0)]
    (row,) = status([usage("10:50:00", 9.0)], servers, until="10:00:00")
    assert picked(row, "as_of", *CONNECTED) == (None, 0, 0.0)
    assert picked(row, *CAPACITY) == ("A", 100.0, 0.0, False)
    assert row["last_event_at"] == "2026-03-02T10:50:00.000000Z"


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        ([], (None, None, None, None)),
        ([server(1, 200.0)], ("A", 200.0, 0.4, False)),
        ([server(1, 3e5)], ("A", 3e5, 80 / 3e5, False)),
        ([server(1, 100.0)], ("A", 100.0, 0.8, True)),  # exactly 80 %
        ([server(1, 100.000001)], ("A", 100.000001, 80_000_000 / 100_000_001, False)),
        ([server(1, 100.0), server(1, 200.0, at("10:00:00"), "B")], ("B", 200.0, 0.4, False)),
        ([server(1, 100.0), server(1, 200.0, at("10:00:00.000001"), "B")], ("A", 100.0, 0.8, True)),
        (
            [server(1, 200.0, at("11:00:00")), server(1, 1.0, at("12:00:00"))],
            ("A", 200.0, 0.4, False),
        ),
        ([server(1, 100.0), server(1, None, at("09:00:00"), "B")], ("B", None, None, None)),
        ([server(1, -5.0)], ("A", None, None, None)),
        ([server(1, 0.0)], ("A", 0.0, None, None)),
        # Of two at one moment the greater capacity, then the greater location; none is smallest.
        ([server(1, 200.0, place="A"), server(1, 100.0, place="B")], ("A", 200.0, 0.4, False)),
        ([server(1, 0.0, place="A"), server(1, None, place="B")], ("A", 0.0, None, None)),
        ([server(1, 200.0, place=place) for place in ("A", "B")], ("B", 200.0, 0.4, False)),
    ],
)
def test_status_against_the_capacity_of_the_moment(
    servers: list[Row], expected: tuple[Any, ...]
) -> None:
    for order in permutations(servers):
        (row,) = status([usage("10:00:00", 80.0)], order)
        assert picked(row, *CAPACITY) == expected
        assert picked(row, *CONNECTED) == (1, 80.0)


def test_a_status_of_the_known_and_of_the_heard() -> None:
    events = [
        connect("10:00:00", server=3),
        usage("10:00:00", math.nan, server=4),  # no event
    ]
    servers = [server(1, 100.0), server(2, 50.0, at("00:00:00", 99), "Z")]
    names = ("server_id", "location", "as_of", "devices_connected", "usage_rate", "last_event_at")
    now = "2026-03-02T10:00:00.000000Z"
    assert [picked(row, *names) for row in status(events, servers)] == [
        (1, "A", now, 0, 0.0, None),
        (2, "Z", now, 0, 0.0, None),
        (3, None, now, 1, None, now),
    ]
    silent = [(1, "A", None, 0, 0.0, None), (2, "Z", None, 0, 0.0, None)]
    assert [picked(row, *names) for row in status(servers=servers)] == silent


# --- server_upgrade_candidates


@pytest.mark.parametrize(
    ("received", "servers", "reason", "recommended"),
    [
        (90.0, [server(1, 100.0)], "overloaded", 200.0),
        (80.0, [server(1, 100.0)], "overloaded", 200.0),  # 80 is not under 80 % of 100
        (79.999, [server(1, 100.0)], "fine", None),
        (
            90.0,
            [server(1, 100.0), server(1, 500.0, at("10:04:58"))],
            "the capacity has been raised",
            None,
        ),
        (
            90.0,
            [server(1, 100.0), server(1, 200.0, at("10:04:58"))],
            "the capacity has been raised",
            None,
        ),
        (90_000.0, [server(1, 100_000.0)], "overloaded beyond the largest step", None),
        (90.0, [server(1, 100.0), server(1, 0.0, at("10:04:58"))], "the capacity is zero", None),
        (90.0, [server(1, None)], "the capacity is unknown", None),
        (90.0, [], "the capacity is unknown", None),
    ],
)
def test_upgrade_candidates(
    received: float, servers: list[Row], reason: str, recommended: float | None
) -> None:
    found = work_out(steady(received, "10:00:00", "10:05:00"), servers=servers, as_of="10:04:58")
    (row,) = found["server_upgrade_candidates"]
    assert picked(row, "reason", "recommended_capacity_mbps") == (reason, recommended)


def test_a_server_without_traffic_is_a_candidate_too() -> None:
    found = work_out([connect("10:00:00", server=1)], servers=[server(2, 100.0)])
    names = ("server_id", "location", "reason", "overloaded_windows", "days_overloaded")
    assert column(found, "server_upgrade_candidates", *names) == [
        (1, None, "the capacity is unknown", 0, 0),
        (2, "A", "no traffic", 0, 0),
    ]


def test_overloaded_windows_and_their_days() -> None:
    events = [
        *steady(90.0, "23:55:00", "23:59:59"),
        usage(at("00:00:00", 1), 80.0),
    ]
    found = work_out(events, servers=[server(1, 100.0)])
    (row,) = found["server_upgrade_candidates"]
    assert picked(row, "overloaded_windows", "days_overloaded") == (2, 2)
    # Of 0.8 and 0.9, place 0.95: 0.05 * 0.8 + 0.95 * 0.9.
    assert row["usage_rate_p95"] == pytest.approx(0.895, rel=1e-15)
    west = work_out(events, servers=[server(1, 100.0)], timezone="America/Los_Angeles")
    assert column(west, "server_upgrade_candidates", "days_overloaded") == [1]


def test_windows_of_30_days() -> None:
    for report, windows in (("09:59:59.999999", 1), ("10:00:00", 0)):
        found = work_out(
            [usage("10:00:00", 90.0), disconnect("10:01:00")],
            servers=[server(1, 1.0)],
            as_of=at(report, 30),
        )
        # 8,640 windows up to that of 09:55 thirty days on begin with that of 10:00.
        assert column(found, "server_upgrade_candidates", "overloaded_windows") == [windows]


def test_a_window_without_a_row_counts_as_zero() -> None:
    events = [*steady(90.0, "10:00:00", "10:04:59"), disconnect("10:04:59.999999")]
    servers = [server(1, 100.0)]
    for report, p95 in (("10:04:59", 0.9), ("10:09:59", 0.855), ("10:14:59", 0.81)):
        (row,) = work_out(events, servers=servers, as_of=report)["server_upgrade_candidates"]
        # 0.9 alone; then beside one zero, 0.95 of it; then beside two, 0.9 of it: place 0.95 * 2.
        assert row["usage_rate_p95"] == pytest.approx(p95, rel=1e-14)


@pytest.mark.parametrize(
    ("change", "p95"),
    [
        # Of the windows of 10:00, 10:05 and 10:10 the last two have no row.
        (server(1, None, at("10:05:00.000001")), 0.855),  # known still when that of 10:05 begins
        (server(1, None, at("10:05:00")), 0.9),
        (server(1, 0.0, at("10:05:00")), 0.9),
        (server(1, 50.0, at("10:05:00")), 0.81),
    ],
)
def test_a_window_without_a_row_counts_where_the_capacity_was_known(
    change: Row, p95: float
) -> None:
    events = [*steady(90.0, "10:00:00", "10:04:59"), disconnect("10:04:59.999999")]
    (row,) = work_out(events, servers=[server(1, 100.0), change], as_of="10:14:59")[
        "server_upgrade_candidates"
    ]
    assert row["usage_rate_p95"] == pytest.approx(p95, rel=1e-14)


def test_without_a_window_that_counts_there_is_no_p95() -> None:
    found = work_out([usage("10:00:00", 5.0)], servers=[server(1, None)], as_of=at("10:00:00", 2))
    names = ("usage_rate_p95", "overloaded_windows")
    assert column(found, "server_upgrade_candidates", *names) == [(None, 0)]


# --- heavy_users


def test_heavy_users_by_median_and_share() -> None:
    sizes = {1: 10**9, 2: 2 * 10**9, 3: 10**10}
    events = [usage("10:00:00", 50.0, size=size, device=n) for n, size in sizes.items()]
    found = work_out(events, devices=[device(n, 10 + n) for n in sizes])
    names = ("customer_id", "gigabytes", "times_median", "is_heavy", "suggested_limit_mbps")
    # The median is 2 GB, the total 13. The third may have min(5 * 2, 0.2 * 13) = 2.6 of its 10 GB,
    # so 26 % of its 50 Mbit/s.
    assert column(found, "heavy_users", *names) == [
        (11, 1.0, 0.5, False, None),
        (12, 2.0, 1.0, False, None),
        (13, 10.0, 5.0, True, pytest.approx(13.0, rel=1e-15)),
    ]
    assert column(found, "heavy_users", "share_of_server") == [1 / 13, 2 / 13, 10 / 13]


def test_an_unregistered_device_counts_in_the_servers_total_alone() -> None:
    sizes = {1: 3, 2: 20, 3: 77}
    events = [usage("10:00:00", 50.0, size=size, device=n) for n, size in sizes.items()]
    found = work_out(events, devices=[device(1, 11), device(2, 12)])
    # The median of 3 and 20 is 11.5; a share of exactly 0.2 is heavy.
    names = ("customer_id", "share_of_server", "times_median", "is_heavy")
    assert column(found, "heavy_users", *names) == [
        (11, 0.03, 3 / 11.5, False),
        (12, 0.2, 20 / 11.5, True),
    ]
    assert found["heavy_users"][1]["suggested_limit_mbps"] == 50.0  # 0.2 * 100 of its 20 bytes


def test_five_times_the_median_is_heavy_whatever_the_share() -> None:
    sizes = {**dict.fromkeys(range(1, 31), 10), 31: 50, 32: 49}
    events = [usage("10:00:00", 30.0, size=size, device=n) for n, size in sizes.items()]
    found = work_out(events, devices=[device(n, 100 + n) for n in sizes])
    # 50 of 399 is no fifth, but 5 * 10; 50 is allowed, which is less than 0.2 * 399.
    heavy = [row for row in found["heavy_users"] if row["is_heavy"]]
    names = ("customer_id", "times_median", "suggested_limit_mbps")
    assert [picked(row, *names) for row in heavy] == [(131, 5.0, 30.0)]


def test_no_bytes_no_median() -> None:
    found = work_out([usage("10:00:00", 0.0, size=0)], devices=[device(1, 11)])
    names = ("gigabytes", "share_of_server", "times_median", "is_heavy", "suggested_limit_mbps")
    assert column(found, "heavy_users", *names) == [(0.0, None, None, False, None)]
    sizes = {1: 0, 2: 0, 3: 8}
    events = [usage("10:00:00", 5.0, size=size, device=n) for n, size in sizes.items()]
    found = work_out(events, devices=[device(n, 10 + n) for n in sizes])
    # The median is 0, so only the share judges: all of it, of which a fifth is allowed.
    assert column(found, "heavy_users", *names[1:])[2] == (1.0, None, True, 1.0)


def test_a_device_belongs_to_its_customer_of_the_time() -> None:
    registered = at("10:00:00")
    devices = [device(1, 7, at("09:00:00")), device(1, 8, registered), device(1, 9, registered)]
    events = [
        usage("08:00:00", 5.0, size=1),  # before the first registration: its customer
        usage("09:59:59.999999", 5.0, size=2),
        usage("10:00:00", 5.0, size=4),  # of two registered at once the smaller customer
    ]
    found = work_out(events, devices=devices)
    names = ("customer_id", "gigabytes")
    assert column(found, "heavy_users", *names) == [(7, 3e-9), (8, 4e-9)]


def test_what_others_had_to_go_short_of() -> None:
    events = [
        # Customer 11 has what it asks for, half a minute; customer 12 is short for 20 s of 60.
        usage("10:00:00", 100.0, device=1),
        disconnect("10:00:30", device=1),
        usage("10:00:00", 10.0, device=2),
        usage("10:00:20", 90.0, device=2),
        disconnect("10:01:00", device=2),
        # Customer 13 asks for nothing, and nobody knows whose device 4 is.
        usage("10:00:00", 0.0, asked=0.0, device=3),
        disconnect("10:00:40", device=3),
        usage("10:00:00", 1.0, device=4),
        disconnect("10:00:50", device=4),
        # What happens on another server, where customer 12 is alone, is of no account.
        usage("11:00:00", 1.0, device=2, server=2),
        disconnect("11:00:10", device=2, server=2),
    ]
    found = work_out(events, devices=[device(n, 10 + n) for n in (1, 2, 3)])
    names = ("customer_id", "server_id", "others_share_of_time_short")
    assert column(found, "heavy_users", *names) == [
        (11, 1, 20 / 60),
        (12, 1, 0.0),
        (12, 2, None),
        (13, 1, 20 / 90),
    ]


def test_what_others_had_to_go_short_of_is_of_the_day() -> None:
    events = [
        usage("23:00:00", 100.0, device=1),
        usage(at("01:00:00", 1), 100.0, device=1),
        # Customer 12 is short for 10 s of 20 on the first day, and for all of 15 s on the second,
        # on which it takes no sample.
        usage("23:59:40", 100.0, device=2),
        usage("23:59:50", 10.0, device=2),
        disconnect(at("00:00:15", 1), device=2),
    ]
    found = work_out(events, devices=[device(1, 11), device(2, 12)])
    names = ("customer_id", "date", "others_share_of_time_short")
    assert column(found, "heavy_users", *names) == [
        (11, "2026-03-02", 0.5),
        (11, "2026-03-03", 1.0),
        (12, "2026-03-02", None),  # samples before a silence stand for no time
    ]


# --- server_weekly

WEEKLY = (
    "week_start",
    "devices_peak",
    "devices",
    "usage_rate_p95",
    "share_of_time_short",
)
CHANGES = tuple(f"{name}_change" for name in WEEKLY[1:])


def stretch(received: float, since: datetime, minutes: int, **of: int) -> list[Row]:
    """A sample every half minute, and a disconnect at the end."""
    moments = [since + timedelta(seconds=30 * n) for n in range(2 * minutes)]
    return [
        *(usage(moment, received, **of) for moment in moments),
        disconnect(since + timedelta(minutes=minutes), **of),
    ]


def weekly(found: Mapping[str, Any], *names: str, server: int = 1) -> list[Any]:
    rows = [row for row in found["server_weekly"] if row["server_id"] == server]
    return [
        tuple(
            pytest.approx(value, rel=1e-12) if isinstance(value, float) else value
            for value in picked(row, *names)
        )
        for row in rows
    ]


def test_a_week_against_the_week_before() -> None:
    events = [
        # The last two windows of a week, of 40 % and of nothing: 0.95 of the way between them.
        *stretch(40.0, at("23:50:00", 6), 5, device=1),
        # Three windows of the next one, up to the report time, of 90 %, nothing and nothing.
        *stretch(90.0, at("00:00:00", 7), 5, device=2),
        connect(at("00:01:00", 7), device=3),
        disconnect(at("00:02:00", 7), device=3),
        # Something of another server, which is known too.
        disconnect(at("00:10:01", 7), device=9, server=2),
    ]
    found = work_out(
        events,
        servers=[server(1, 100.0)],
        customers=[customer(11, 100.0), customer(12, 100.0)],
        devices=[device(1, 11), device(2, 12)],
    )
    # 40 of 100 is short, 90 of 100 is not. Of 0, 0 and 0.9 it is 0.9 of the way to the last.
    assert weekly(found, *WEEKLY) == [
        ("2026-03-02", 1, 1, 0.38, 1.0),
        ("2026-03-09", 2, 2, 0.81, 0.0),
    ]
    assert weekly(found, *CHANGES) == [(None, None, None, None), (1, 1, 0.43, -1.0)]
    assert weekly(found, *WEEKLY, server=2) == [("2026-03-09", 0, 1, None, None)]


def test_a_week_begins_on_monday_where_the_reports_are() -> None:
    events = [
        # In Tokyo Monday begins at 15:00 on Sunday. 15 s of the sample lie before, 10 s after.
        usage(at("14:59:45", 6), 1.0, device=1),
        disconnect(at("15:00:10", 6), device=1),
        usage(at("15:00:20", 6), 100.0, device=2),
        disconnect(at("15:00:50", 6), device=2),
    ]
    of = {"servers": [server(1, 100.0)], "devices": [device(1, 11), device(2, 12)]}
    names = ("week_start", "devices", "share_of_time_short")
    assert weekly(work_out(events, timezone="Asia/Tokyo", **of), *names) == [
        ("2026-03-02", 1, 1.0),
        ("2026-03-09", 2, 10 / 40),
    ]
    assert weekly(work_out(events, **of), *names) == [("2026-03-02", 2, 25 / 55)]


def test_a_week_without_a_row_is_none_to_compare_with() -> None:
    events = [
        *stretch(40.0, at("23:55:00", 6), 4),
        *stretch(40.0, at("00:00:00", 14), 4),
        disconnect(at("00:05:00", 14)),
    ]
    found = work_out(events, servers=[server(1, 100.0)])
    # 60 instants of which 48 are in use, one window; then that and one of nothing.
    assert weekly(found, "week_start", "usage_rate_p95", *CHANGES) == [
        ("2026-03-02", 0.32, None, None, None, None),
        ("2026-03-16", 0.304, None, None, None, None),
    ]


def test_all_of_a_week_counts_once_the_server_has_been_heard_of() -> None:
    """21 windows of 40 %, at the end of a week: nearly nothing of 2,016, all of 21."""
    late = stretch(40.0, at("22:15:00", 13), 105)
    of = {"servers": [server(1, 100.0)], "as_of": at("23:59:59", 13)}
    names = ("week_start", "usage_rate_p95")
    assert weekly(work_out(late, **of), *names) == [("2026-03-09", 0.4)]
    found = work_out([connect(at("23:59:00", 6)), *late], **of)
    assert weekly(found, *names) == [("2026-03-02", 0.0), ("2026-03-09", 0.0)]


def test_windows_without_a_row_count_while_the_capacity_is_known() -> None:
    events = [
        *stretch(40.0, at("10:00:00"), 5),
        disconnect(at("10:29:00"), device=9),
    ]
    servers = [server(1, 100.0), server(1, None, at("10:10:00")), server(1, 0.0, at("10:20:00"))]
    found = work_out(events, servers=servers)
    # At 10:00 0.4, at 10:05 nothing; those from 10:10 on, with a row at 10:25 or without, do not.
    assert weekly(found, *WEEKLY[:4]) == [("2026-03-02", 1, 2, 0.38)]


def test_a_device_with_a_session_open_across_midnight_is_of_both_weeks() -> None:
    events = [
        connect(at("23:55:00", 6), device=4),
        connect(at("23:55:00", 6), device=5),  # silent, so that it was lost then
        disconnect(at("00:05:00", 7), device=4),
        disconnect(at("00:12:00", 7), device=9, server=2),
    ]
    names = ("week_start", "devices_peak", "devices")
    assert weekly(work_out(events), *names) == [("2026-03-02", 1, 2), ("2026-03-09", 1, 1)]
    # Before its timeout has passed the silent one is open.
    found = work_out(events, as_of=at("00:09:00", 7))
    assert weekly(found, *names) == [("2026-03-02", 2, 2), ("2026-03-09", 2, 2)]


# --- subscribed_vs_received


def test_percentiles_over_wanting_pieces_and_share_by_time() -> None:
    events = [
        usage("10:00:00", 10.0, 10.0),
        usage("10:00:57", 7.9, 10.0),
        usage("10:01:00", 30.0, 0.0),  # asks for nothing: no part of it
        disconnect("10:02:00"),
    ]
    found = work_out(events, customers=[customer(7, 50.0)], devices=[device(1, 7)])
    (row,) = found["subscribed_vs_received"]
    # Of 7.9 and 10: 8.95 in the middle, 7.9 * 0.05 + 10 * 0.95 = 9.895. Short 3 of 60 s: 0.05.
    assert picked(row, "received_p50_mbps", "received_p95_mbps") == (8.95, 9.895)
    assert picked(row, "share_of_time_short", "gets_what_was_sold") == (0.05, True)


def test_what_was_asked_is_what_counts_without_a_plan() -> None:
    for plan in (None, -1.0):
        found = work_out(
            [usage("10:00:00", 8.0, 10.0), usage("10:00:10", 7.999, 10.0), disconnect("10:00:20")],
            customers=[customer(7, plan)],
            devices=[device(1, 7)],
        )
        names = ("plan_mbps", "share_of_time_short", "gets_what_was_sold")
        assert column(found, "subscribed_vs_received", *names) == [(None, 0.5, None)]


def test_nothing_asked_nothing_short() -> None:
    found = work_out(
        [usage("10:00:00", 8.0, 0.0), disconnect("10:00:20")],
        customers=[customer(7, 10.0)],
        devices=[device(1, 7)],
    )
    names = ("received_p50_mbps", "share_of_time_short", "gets_what_was_sold")
    assert column(found, "subscribed_vs_received", *names) == [(None, None, None)]


@pytest.mark.parametrize(
    ("plans", "longest"),
    [
        ([(10.0, LONG_AGO), (100.0, at("12:00:00"))], 100.0),  # equally long: the greater
        ([(100.0, LONG_AGO), (10.0, at("12:00:00"))], 100.0),
        ([(100.0, LONG_AGO), (10.0, at("11:59:59.999999"))], 10.0),
        ([(None, LONG_AGO), (10.0, at("12:00:00"))], 10.0),
        ([(10.0, LONG_AGO), (None, at("11:00:00"))], None),
        ([(10.0, LONG_AGO), (-1.0, at("11:00:00"))], None),
        ([(10.0, at("23:00:00"))], 10.0),  # the first holds before too
        # 10 from 0 to 6 and from 18 to 24, 100 for 11 hours, 200 for one.
        (
            [
                (10.0, LONG_AGO),
                (100.0, at("06:00:00")),
                (200.0, at("17:00:00")),
                (10.0, at("18:00:00")),
            ],
            10.0,
        ),
        ([(10.0, LONG_AGO), (100.0, at("10:00:00", 1))], 10.0),
    ],
)
def test_the_plan_in_force_longest(
    plans: list[tuple[float | None, datetime]], longest: float | None
) -> None:
    found = work_out(
        [usage("10:00:00", 8.0), disconnect("10:00:20")],
        customers=[customer(7, plan, since) for plan, since in plans],
        devices=[device(1, 7)],
    )
    assert column(found, "subscribed_vs_received", "plan_mbps") == [longest]


def test_the_plan_in_force_longest_on_a_day_of_23_hours() -> None:
    # In California 2026-03-08 ends at 07:00 UTC: 11 hours before noon (19:00 UTC), 12 after it.
    noon = datetime(2026, 3, 8, 19, tzinfo=UTC)
    found = work_out(
        [usage(noon, 8.0), disconnect(noon + timedelta(seconds=10))],
        customers=[customer(7, 100.0), customer(7, 10.0, noon)],
        devices=[device(1, 7)],
        timezone="America/Los_Angeles",
    )
    assert column(found, "subscribed_vs_received", "plan_mbps") == [10.0]


# --- bandwidth_summary


def test_shares_of_bandwidth_and_of_high_speed_customers() -> None:
    events = [
        *(connect("10:00:00", device=n) for n in (1, 2, 3, 4)),
        usage("10:00:00", 30.0, device=1),
        usage("10:00:00", 10.0, device=2),
        *(disconnect("10:00:30", device=n) for n in (1, 2, 5)),
    ]
    found = work_out(
        events,
        customers=[customer(11, 500.0), customer(12, 50.0), customer(13, 500.0)],
        devices=[
            device(1, 11),
            device(2, 12, kind="computer"),
            device(3, 12),
            device(5, 13),
        ],
    )
    names = ("device_type", "speed_class", "devices_connected", "devices_disconnected")
    assert column(found, "bandwidth_summary", *names) == [
        ("computer", "medium", 1, 1),
        ("phone", "high", 1, 2),
        ("phone", "medium", 1, 0),
        ("unknown", "unknown", 1, 0),
    ]
    assert column(found, "bandwidth_summary", "share_of_bandwidth") == [0.25, 0.75, 0.0, 0.0]
    # 11 of 11 and 12; 13 only disconnects, device 4 has no customer.
    shares = column(found, "bandwidth_summary", "share_of_high_speed_customers")
    assert shares == [0.5] * 4


def test_no_customers_no_share() -> None:
    (row,) = work_out([connect("10:00:00")])["bandwidth_summary"]
    assert picked(row, "share_of_bandwidth", "share_of_high_speed_customers") == (None, None)


# --- identity and rejects


def test_a_conflict_keeps_the_greatest_measures() -> None:
    rivals = [
        usage("10:00:00", 5.0, 9.0, 7),
        usage("10:00:00", 6.0, 1.0, 1),
        usage("10:00:00", 6.0, 1.0, 2),
    ]
    for order in permutations(rivals):
        found = work_out(order, devices=[device(1, 7)])
        assert accounts(found) == (3, 3, 0, 0, 0, 2)
        assert column(found, "server_load", "bandwidth_used_mbps") == [6.0]
        assert column(found, "heavy_users", "gigabytes") == [2e-9]
        assert unmatched(found) == (0, 1, 0, 1)  # of winners only
    others = [rivals[0], rivals[1] | {"event_id": 99}]  # two events, not one
    assert accounts(work_out(others)) == (2, 2, 0, 0, 0, 0)


def test_rows_are_the_same_when_they_are_typed_the_same() -> None:
    same = [
        connect("10:00:00"),
        connect("10:00:00") | {"event_type": " CONNECT "},
        connect("10:00:00") | {"asked_mbps": math.nan, "bytes": -5},  # ignored in a connect
        usage("10:00:01", 5.0),
        usage("10:00:01", 5.0000001),  # the same bits per second
    ]
    assert accounts(work_out(same)) == (5, 2, 3, 0, 0, 0)
    devices = [device(1, 7), device(1, 7, kind="Phone "), device(1, 7) | {"ipv4": "8.8.8.8"}]
    assert accounts(work_out(devices=devices), "devices") == (3, 2, 1, 0, 1, 0)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event_id": None, "session_id": None}, "event_id is missing"),
        ({"session_id": None, "device_id": None}, "session_id is missing"),
        ({"device_id": None, "server_id": None}, "device_id is missing"),
        ({"server_id": None, "event_type": None}, "server_id is missing"),
        ({"event_type": None}, "event_type is none of connect, disconnect, usage"),
        ({"event_type": "\tusage"}, "event_type is none of connect, disconnect, usage"),
        ({"event_at": None, "asked_mbps": None}, "event_at is unreadable"),
        ({"event_at": INGESTED + timedelta(hours=1, microseconds=1)}, "event_at is in the future"),
        (
            {"event_at": datetime(1999, 12, 31, 23, 59, 59, 999_999, UTC), "asked_mbps": None},
            "event_at is before the earliest time",
        ),
        *(
            ({f"{name}_mbps": value}, f"{name}_mbps is not a speed")
            for name in ("asked", "received")
            for value in (None, math.nan, -0.001, 1e6 + 1, math.inf)
        ),
        ({"asked_mbps": None, "received_mbps": None}, "asked_mbps is not a speed"),
        ({"received_mbps": None, "bytes": None}, "received_mbps is not a speed"),
        *(({"bytes": value}, "bytes is not a number of bytes") for value in (None, -1, 10**13 + 1)),
    ],
)
def test_rejects_of_connections(change: Row, reason: str) -> None:
    found = work_out([usage("10:00:00", 5.0) | change, usage("10:00:00", 5.0)])
    assert found["reject_reasons"]["connections"] == {reason: 1}
    assert accounts(found) == (2, 1, 0, 1, 0, 0)


def test_the_bounds_are_accepted() -> None:
    events = [
        usage(INGESTED + timedelta(hours=1), 1e6, 0.0, 10**13),
        usage(datetime(2000, 1, 1, tzinfo=UTC), -0.0, 1e-300, 0),
    ]
    early = datetime(2000, 1, 1, 0, 1, tzinfo=UTC)  # the years since are millions of windows
    found = answers(tables(events), ingested_at=INGESTED, as_of=early)
    assert accounts(found)[:4] == (2, 2, 0, 0)


def test_a_time_before_the_earliest_is_no_time() -> None:
    earliest = datetime(2000, 1, 1, tzinfo=UTC)
    before = earliest - timedelta(microseconds=1)
    delivered = tables(
        [connect(before), connect(earliest)],
        [server(1, 5.0, before), server(1, 5.0, earliest)],
        [customer(1, 5.0, before), customer(1, 5.0, earliest)],
        [device(1, 1, before), device(1, 1, earliest)],
    )
    found = answers(delivered, ingested_at=INGESTED, as_of=earliest)
    entities = ("servers", "customers", "devices", "connections")
    assert [accounts(found, entity)[:4] for entity in entities] == [(2, 1, 0, 1)] * 4
    assert found["reject_reasons"] == {
        "servers": {"valid_from is before the earliest time": 1},
        "customers": {"valid_from is before the earliest time": 1},
        "devices": {"registered_at is before the earliest time": 1},
        "connections": {"event_at is before the earliest time": 1},
    }
    found = answers(delivered, ingested_at=INGESTED, as_of=earliest, earliest=before)
    assert [accounts(found, entity)[:4] for entity in entities] == [(2, 2, 0, 0)] * 4


def test_rejects_of_the_other_tables() -> None:
    found = work_out(
        servers=[
            server(1, 5.0) | {"server_id": None, "valid_from": None},
            server(1, math.nan) | {"valid_from": None},
            server(1, -1.0),
            server(1, -1.0),
            server(2, None),
            server(1, 5.0, datetime(2900, 1, 1, tzinfo=UTC)),
        ],
        customers=[
            customer(1, 5.0) | {"customer_id": None},
            customer(1, 5.0) | {"valid_from": None},
            customer(1, math.inf, kind="school"),
            customer(2, 5.0, kind="school"),
            customer(3, 5.0, kind=None),
            customer(4, None, kind=" Business"),
        ],
        devices=[
            device(1, 1) | {"device_id": None},
            device(1, 1) | {"customer_id": None},
            device(1, 1, None),
            device(1, 1, INGESTED + timedelta(hours=2)),
            device(1, 1, kind="tablet") | {"ipv4": "8.8.8.8"},
            device(2, 1) | {"ipv4": "8.8.8.8"},
            device(3, 1, kind=None) | {"ipv4": None},
        ],
    )
    assert found["reject_reasons"] == {
        "servers": {
            "server_id is missing": 1,
            "valid_from is missing": 1,
            "capacity_mbps is not a speed": 2,
        },
        "customers": {
            "customer_id is missing": 1,
            "valid_from is missing": 1,
            "plan_mbps is not a speed": 1,
            "kind is none of residential, business": 1,
        },
        "devices": {
            "device_id is missing": 1,
            "customer_id is missing": 1,
            "registered_at is unreadable": 1,
            "registered_at is in the future": 1,
            "device_type is none of computer, phone": 1,
            "ipv4 is not a private IPv4 address": 1,
        },
        "connections": {},
    }
    assert accounts(found, "servers") == (6, 3, 1, 2, 2, 0)
    assert accounts(found, "customers") == (6, 4, 0, 2, 2, 0)
    assert accounts(found, "devices") == (7, 3, 0, 4, 2, 0)


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("10.0.0.0", True),
        ("10.255.255.255", True),
        ("172.16.0.1", True),
        ("172.31.255.255", True),
        ("192.168.1.1", True),
        ("172.15.0.1", False),
        ("172.32.0.1", False),
        ("192.169.1.1", False),
        ("11.0.0.1", False),
        ("10.0.0.256", False),
        ("10.0.0", False),
        ("10.0.0.1.1", False),
        ("10.0.0.01", False),
        (" 10.0.0.1", False),
        ("10.0.0.1\n", False),
        ("", False),
    ],
)
def test_private_addresses(text: str, private: bool) -> None:
    assert is_private_ipv4(text) is private


@pytest.mark.parametrize(
    ("mbps", "bps"),
    [
        (20.5, 20_500_000),
        (0.1234565, 123_457),  # half up, of the shortest decimal
        (0.0000005, 1),
        (0.00000049, 0),
        (-0.0, 0),
        (1e9, 10**15),
        (-1e-9, None),
        (1000000000.0000001, None),
        (math.nan, None),
        (math.inf, None),
        (None, None),
    ],
)
def test_bits_per_second(mbps: float | None, bps: int | None) -> None:
    assert bits_per_second(mbps) == bps


def test_percentiles() -> None:
    assert hundredfold_percentile([7], 95) == 700
    # Place 0.95 * 4 = 3.8: 4 * 0.2 + 10 * 0.8 = 8.8.
    assert hundredfold_percentile([1, 2, 3, 4, 10], 95) == 880
    assert spark_percentile([1.0, 2.0, 3.0, 4.0, 10.0], 0.95) == pytest.approx(8.8, rel=1e-15)
    assert spark_percentile([1.0, 4.0], 0.5) == 2.5
    assert spark_percentile([0.1, 0.1], 0.95) == 0.1


# --- versions of one moment


def test_of_two_servers_at_one_moment_the_greater_capacity() -> None:
    rows = [server(1, 100.0, place="A"), server(1, 50.0, place="Z"), server(1, None, place="Z")]
    for order in permutations(rows):
        found = work_out([connect("10:00:00")], servers=order)
        names = ("capacity_mbps", "location")
        assert column(found, "server_upgrade_candidates", *names) == [(100.0, "A")]
    for order in permutations([server(1, 50.0, place=place) for place in ("A", "B")]):
        found = work_out([connect("10:00:00")], servers=order)
        assert column(found, "server_load", "location") == ["B"]


def test_of_two_plans_at_one_moment_the_valid_then_the_greater() -> None:
    expected = [([5.0, 50.0], "medium"), ([5.0, -1.0], "low"), ([5.0, None], "low")]
    for plans, of_class in [*expected, ([None, -1.0], "unknown")]:
        for order in permutations(plans):
            found = work_out(
                [connect("10:00:00")],
                customers=[customer(7, plan) for plan in order],
                devices=[device(1, 7)],
            )
            assert column(found, "bandwidth_summary", "speed_class") == [of_class]


def test_of_two_registrations_at_one_moment_the_smaller_type_null_last() -> None:
    for order in permutations([device(1, 7, kind=kind) for kind in (None, "phone", "computer")]):
        found = work_out([connect("10:00:00")], devices=order)
        assert column(found, "bandwidth_summary", "device_type") == ["computer"]


# --- the report time, and nothing at all


def test_as_of_is_the_latest_accepted_event_or_given() -> None:
    events = [connect("10:00:00"), disconnect("10:01:00"), usage("10:02:00", math.nan)]
    assert work_out(events)["as_of"] == "2026-03-02T10:01:00.000000Z"
    early = work_out(events, as_of="10:00:30")
    assert early["as_of"] == "2026-03-02T10:00:30.000000Z"
    # What is later is accepted all the same, and not used.
    assert accounts(early)[:4] == (3, 2, 0, 1)
    assert unmatched(early) == (1, 1, 0, 0)
    (row,) = early["server_load"]
    assert picked(row, "devices_connected", "last_event_at") == (1, "2026-03-02T10:00:00.000000Z")


def test_without_events() -> None:
    nothing = answers({}, ingested_at=INGESTED)
    assert nothing["as_of"] is None
    assert [nothing[mart] for mart in MARTS] == [[]] * 6
    assert set(nothing["table_counts"]) == set(SCHEMAS)
    idle = work_out(servers=[server(1, 100.0)], as_of="10:00:00")
    assert column(idle, "server_upgrade_candidates", "reason") == ["no traffic"]
    assert not any(idle[mart] for mart in MARTS if mart != "server_upgrade_candidates")


def test_times_without_a_zone_and_large_strings_are_read_too() -> None:
    (events,) = tables([usage("10:00:00", 5.0)])[CONNECTIONS]
    schema = events.schema.set(4, pa.field("event_type", pa.large_string()))
    schema = schema.set(5, pa.field("event_at", pa.timestamp("ms")))
    found = answers({CONNECTIONS: [events.cast(schema), events]}, ingested_at=INGESTED)
    assert accounts(found)[:3] == (2, 1, 1)
    assert found["as_of"] == "2026-03-02T10:00:00.000000Z"


@pytest.mark.parametrize("seed", range(5))
def test_order_and_repetition_change_nothing(seed: int) -> None:
    random = Random(seed)
    kinds = ("connect", "usage", "usage", "disconnect")
    events = [
        event(
            random.choice(kinds),
            DAY + timedelta(seconds=5 * random.randrange(1000)),
            session=random.randrange(3),
            device=random.randrange(4),
            server=random.randrange(2),
        )
        | {"event_id": number // 2}
        | {name: random.choice((0.0, 5.0, 90.0)) for name in ("asked_mbps", "received_mbps")}
        | {"bytes": random.randrange(5)}
        for number in range(200)
    ]
    dimensions = {
        "servers": [server(0, 100.0), server(0, 200.0, at("00:40:00"))],
        "customers": [customer(7, 10.0), customer(7, 200.0, at("00:30:00"))],
        "devices": [device(n, 7) for n in range(3)],
    }
    told = work_out(events, **dimensions)
    again = work_out(random.sample(events + events[:50], 250), **dimensions)
    for name in (*MARTS, "unmatched", "as_of"):
        assert again[name] == told[name]
    assert accounts(again)[1] == accounts(told)[1]
    assert accounts(again)[5] == accounts(told)[5]
