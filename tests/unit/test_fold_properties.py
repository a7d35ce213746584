"""What holds for versions, intervals and figures in both oracles, against slow definitions."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from statistics import quantiles
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.oracle.network import marts as network
from tests.oracle.wearables import marts as wearables
from tests.oracle.wearables.marts import SECOND

often = settings(max_examples=100, deadline=None)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# --- the fold of changes

moments = st.integers(0, 4)
things = st.integers(1, 2)


def change(user: int, at: int, kind: str, name: str | None) -> wearables._Change:
    attributes = (None, None, None, name, *[None] * 5)
    digest = wearables.payload_digest(attributes)
    return wearables._Change(user, at, kind, digest, None, attributes)


kinds = st.sampled_from(("new", "update", "delete"))
changes = st.builds(change, things, moments, kinds, st.sampled_from("ab") | st.none())
servers = st.builds(
    network._Server,
    things,
    st.sampled_from("ab") | st.none(),
    st.integers(0, 2) | st.none(),
    moments,
)
speeds = st.tuples(st.integers(0, 2), st.just(False)) | st.tuples(st.none(), st.booleans())
plans = st.builds(
    lambda customer, kind, speed, at: network._Customer(
        customer, kind, None, None, speed[0], speed[1], at
    ),
    *(things, st.sampled_from("ab") | st.none(), speeds, moments),
)
devices = st.builds(
    network._Device,
    *(things, things, st.sampled_from(("computer", "phone")) | st.none()),
    *(st.sampled_from(("10.0.0.1", "10.0.0.2")) | st.none(), moments),
)


def profile_fold(items: Iterable[wearables._Change]) -> tuple[Any, list[Any]]:
    versions = wearables._versions(items)
    return versions, [version.change for history in versions.values() for version in history]


def history_fold(
    fold: Callable[[Iterable[Any]], network._History[Any]],
) -> Callable[[Iterable[Any]], tuple[Any, list[Any]]]:
    def folded(items: Iterable[Any]) -> tuple[Any, list[Any]]:
        history = fold(items)
        return dict(history.of), history.payloads

    return folded


FOLDS = {
    "profiles": (profile_fold, changes),
    "servers": (history_fold(network._server_versions), servers),
    "plans": (history_fold(network._customer_versions), plans),
    "devices": (history_fold(network._device_versions), devices),
}


@pytest.mark.parametrize("kind", FOLDS)
@often
@given(st.data())
def test_versions_are_the_same_in_any_order_doubled_and_in_parts(
    kind: str, data: st.DataObject
) -> None:
    fold, items = FOLDS[kind]
    told = data.draw(st.lists(items, min_size=1, max_size=10))
    again = data.draw(st.permutations(told + data.draw(st.lists(st.sampled_from(told)))))
    cut = data.draw(st.integers(0, len(again)))
    versions, _ = fold(told)
    assert fold(again)[0] == versions
    assert fold(fold(again[:cut])[1] + fold(again[cut:])[1])[0] == versions


@often
@given(st.lists(changes))
def test_profile_versions_join_without_gap_and_only_new_revives(
    told: list[wearables._Change],
) -> None:
    versions = wearables._versions(told)
    assert {(user, v.valid_from) for user, history in versions.items() for v in history} == {
        (change.user, change.at) for change in told
    }
    rows = wearables._version_rows(versions)
    for user, history in versions.items():
        of_user = [row for row in rows if row["user_id"] == user]
        assert all(one["valid_to"] == next_one["valid_from"] for one, next_one in pairwise(of_user))
        assert all(one.valid_from < next_one.valid_from for one, next_one in pairwise(history))
        assert of_user[-1]["valid_to"] is None
        for n, row in enumerate(of_user, start=1):
            kinds_so_far = [version.change.kind for version in history[:n]]
            decisive = [kind for kind in kinds_so_far if kind != "update"]
            assert row["is_deleted"] == (decisive[-1:] == ["delete"])


@often
@given(st.lists(servers), st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 5))))
def test_the_version_in_force_is_the_last_begun_or_the_first(
    told: list[network._Server], asked: list[tuple[int, int]]
) -> None:
    history = network._server_versions(told)
    assert [moment for of_one in history.of.values() for moment, _ in of_one] == [
        moment for _, moment in sorted({(server.server, server.valid_from) for server in told})
    ]
    columns = np.array(asked, np.int64).reshape(-1, 2).T
    for (thing, at), index in zip(asked, history.index(*columns).tolist(), strict=True):
        versions = history.of.get(thing, [])
        begun = [version for moment, version in versions if moment <= at]
        expected = begun[-1] if begun else versions[0][1] if versions else None
        assert history.at(thing, at) == expected
        assert (history.payloads[index] if index >= 0 else None) == expected


texts = st.sampled_from(("", ",", ":", ",:", ",0:", "0:,0:", "-", ",-", "a", "1:a")) | st.none()


@often
@given(st.lists(texts, min_size=2, max_size=4), st.data())
def test_only_equal_profiles_have_one_digest(one: list[str | None], data: st.DataObject) -> None:
    other = data.draw(st.permutations(one) | st.lists(texts))
    digests = {wearables.payload_digest(one), wearables.payload_digest(other)}
    assert (len(digests) == 1) == (one == other)


# --- intervals

TICK = 300_000  # half a hundredth of a minute
spans = st.tuples(st.integers(0, 30), st.integers(0, 15)).map(lambda span: (span[0], sum(span)))


@often
@given(st.lists(spans, max_size=8))
def test_minutes_are_the_moments_that_any_span_covers(told: list[tuple[int, int]]) -> None:
    covered = {tick for start, end in told for tick in range(start, end)}
    minutes = Decimal(len(covered) * TICK) / (60 * SECOND)
    found = wearables._minutes((start * TICK, end * TICK) for start, end in told)
    assert found == minutes.quantize(Decimal("0.01"), ROUND_HALF_UP)


@often
@given(spans, st.lists(spans, max_size=4), st.permutations((0, 1, 2)))
def test_a_visits_workouts_are_what_both_share(
    visit: tuple[int, int], told: list[tuple[int, int]], order: list[int]
) -> None:
    entered, left = visit
    logouts = (None, left, entered)
    logins = [wearables._Login(1, "m", entered, logouts[n]) for n in order]
    workouts = {7: {(7, 0, n): span for n, span in enumerate(told)}}
    (found,) = wearables._visits(logins, {"m": ([0], [7])}, workouts)
    assert (found.login, found.logout, found.status) == (entered, left, "closed")
    shared = {n: set(range(*visit)) & set(range(*span)) for n, span in enumerate(told)}
    assert {session[2]: set(range(*span)) for session, span in found.workouts.items()} == {
        n: ticks for n, ticks in shared.items() if ticks
    }


@often
@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20), st.integers(-2, 10)), max_size=10),
    spans.filter(lambda span: span[0] < span[1]),
)
def test_open_devices_are_counted_once_each_moment(
    told: list[tuple[int, int, int]], window: tuple[int, int]
) -> None:
    columns = np.array([(d, start, start + length) for d, start, length in told], np.int64)
    found = network._open_devices(*columns.reshape(-1, 3).T)
    counts = [
        len({device for device, start, length in told if start <= moment < start + length})
        for moment in range(50)
    ]
    assert [found.at(moment) for moment in range(50)] == counts
    assert found.peak(*window) == max(counts[slice(*window)])


@often
@given(
    st.lists(
        st.tuples(
            st.integers(0, 900) | st.integers(240, 310), st.integers(0, 60), st.integers(0, 5)
        ),
        max_size=8,
    ),
    st.integers(0, 200),
)
def test_used_is_the_sum_of_the_samples_that_stand_at_an_instant(
    told: list[tuple[int, int, int]], last: int
) -> None:
    columns = np.array([(s * SECOND, (s + n) * SECOND, bps) for s, n, bps in told], np.int64)
    start, end, bps = columns.reshape(-1, 3).T
    found = network._used(start, end, bps, last)
    for instant in range(200):
        window, number = divmod(instant, 60)
        standing = [speed for s, n, speed in told if s <= 5 * instant < s + n]
        used = found.get(window, [0] * 60)[number]
        assert used == (sum(standing) if instant <= last else 0)


@often
@given(
    st.dictionaries(st.integers(-2, 9), st.integers(0, 2) | st.none(), min_size=1),
    st.integers(0, 4),
    st.integers(1, 8),
)
def test_the_longest_plan_is_in_force_at_most_moments(
    told: dict[int, int | None], start: int, length: int
) -> None:
    versions = [
        (at, network._Customer(1, None, None, None, plan, False, at))
        for at, plan in sorted(told.items())
    ]
    lasting = Counter(
        versions[max(bisect_right(sorted(told), moment) - 1, 0)][1].plan_bps
        for moment in range(start, start + length)
    )
    expected = max(lasting, key=lambda plan: (lasting[plan], -1 if plan is None else plan))
    assert network._longest_plan(versions, start, start + length) == expected


# --- numbers and days


@often
@given(st.lists(st.integers(0, 10**12), min_size=2, max_size=40), st.integers(1, 99))
def test_percentiles_are_those_of_the_statistics_module(told: list[int], percent: int) -> None:
    exact: Sequence[Any] = quantiles(map(Fraction, told), n=100, method="inclusive")
    found = network.hundredfold_percentile(sorted(told), percent)
    assert found == 100 * exact[percent - 1]
    floating = network.spark_percentile(sorted(map(float, told)), percent / 100)
    assert floating == pytest.approx(float(exact[percent - 1]), rel=1e-9, abs=1e-2)


ZONES = (
    *("UTC", "America/Los_Angeles", "America/Sao_Paulo", "America/Havana", "Asia/Kathmandu"),
    *("Australia/Lord_Howe", "Africa/Cairo", "Asia/Beirut", "Antarctica/Casey", "Asia/Tehran"),
)


@often
@given(
    st.sampled_from(ZONES).map(ZoneInfo),
    st.datetimes(datetime(2015, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC)),
    st.integers(1, 400),
    st.timedeltas(timedelta(0), timedelta(days=1)),
)
def test_every_moment_falls_on_the_day_that_its_zone_names(
    zone: ZoneInfo, first: datetime, num_days: int, later: timedelta
) -> None:
    last = first + timedelta(days=num_days)
    calendar = network._Calendar(zone, micros(first), micros(last))
    told = [first, last]
    for number in range(1, num_days):
        day = first.astimezone(zone).date() + timedelta(days=number)
        midnight = datetime.combine(day, time(), zone).astimezone(UTC)
        told += [midnight - timedelta(microseconds=1), midnight, midnight + later]
    told = [moment for moment in told if first <= moment <= last]
    days = calendar.day(np.array([micros(moment) for moment in told], np.int64)).tolist()
    for moment, day in zip(told, days, strict=True):
        assert calendar.date(day) == moment.astimezone(zone).date()
        start, end = calendar.bounds(day)
        assert start <= micros(moment) < end


def micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)
