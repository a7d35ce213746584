"""A story of servers, customers and their devices, delivered as Parquet files.

    story (events in event time) -> sets by delivery time -> files -> inbox/<table>/

Every column hangs on (seed, table, column) alone: what is late, doubled or broken shifts no other
value, so the same seed with and without these tells of the same events. Times within the story are
whole microseconds from its start.
"""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from faker import Faker
from numpy.typing import NDArray

from generators import check_shares, check_start
from generators.inbox import FileSet, Inbox
from generators.kafka import Message, Send
from generators.network.tables import CONNECTIONS, CUSTOMERS, DEVICES, SCHEMAS, SERVERS
from ingestion.home import Home

START: Final = datetime(2026, 3, 2, 6, tzinfo=UTC)
FIRST_SERVER: Final = 101
FIRST_CUSTOMER: Final = 1001
FIRST_DEVICE: Final = 10_001
FIRST_EVENT: Final = 1_000_001
CAPACITIES_MBPS: Final = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 40_000, 100_000)
PLANS_MBPS: Final = (1, 5, 10, 15, 25, 35, 50, 100, 200, 400, 500, 1000)
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
DAY: Final = 86_400 * SECOND
SAMPLE: Final = 30 * SECOND
"""From one usage sample to the next, on average."""
MOST_LATE: Final = 1200 * SECOND
MADE_UP: Final = 2000
"""So many names and addresses are made up; more customers share them."""
DEMAND_OF_UNKNOWN_PLAN: Final = 30.0
"""Mbit/s."""
SPELLINGS: Final = ("connect", "usage", "disconnect", "CONNECT", " Usage ", "Disconnect ")
CONNECT, USAGE, DISCONNECT = range(3)
"""Their places among the spellings, and the order of what happens in one microsecond."""
DEVICE_TYPES: Final = ("computer", "phone")
STATUSES: Final = ("connected", "disconnected")
BEFORE_ALL: Final = datetime(2000, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
"""Of a clock that was never set."""
FUTURE: Final = datetime(2999, 1, 1, tzinfo=UTC)

NO_SPEEDS: Final = (math.nan, -1.0, 2e9)
BROKEN_VALUES: Final[Mapping[str, Sequence[tuple[str, object]]]] = {
    SERVERS: (
        ("server_id", None),
        ("valid_from", None),
        ("valid_from", BEFORE_ALL),
        *(("capacity_mbps", speed) for speed in NO_SPEEDS),
    ),
    CUSTOMERS: (
        ("customer_id", None),
        ("valid_from", None),
        ("valid_from", BEFORE_ALL),
        ("kind", "school"),
        *(("plan_mbps", speed) for speed in NO_SPEEDS),
    ),
    DEVICES: (
        ("device_id", None),
        ("customer_id", None),
        ("registered_at", None),
        ("registered_at", FUTURE),
        ("registered_at", BEFORE_ALL),
        ("device_type", "tablet"),
        ("ipv4", "8.8.8.8"),
        ("ipv4", "10.0.0.256"),
        ("ipv4", "unknown"),
    ),
    CONNECTIONS: (
        ("event_id", None),
        ("session_id", None),
        ("device_id", None),
        ("server_id", None),
        ("event_type", None),
        ("event_type", "pause"),
        ("event_at", None),
        ("event_at", FUTURE),
        ("event_at", BEFORE_ALL),
        *(("asked_mbps", speed) for speed in (None, *NO_SPEEDS)),
        *(("received_mbps", speed) for speed in (None, *NO_SPEEDS)),
        *(("bytes", size) for size in (None, -1, 10**13 + 1)),
    ),
}
"""Ways to break a row. One with a broken field loses against the whole row beside it."""
WAYS_OF_ANY_EVENT: Final = 9
"""The ways after these break usage events only."""

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


class _Told(NamedTuple):
    """Rows of a table in the story's order, with the moment and the folder of each one's file."""

    rows: pa.Table
    at: Ints
    folder: Ints


@dataclass(frozen=True)
class _Story:
    seed: int
    length: int
    servers: int
    customers: int
    start: datetime
    snap: int | None

    def dice(self, table: str, column: str) -> np.random.Generator:
        """The column's own randomness."""
        key = f"{self.seed}/{table}/{column}".encode()
        return np.random.default_rng(int.from_bytes(blake2b(key, digest_size=16).digest(), "big"))

    def units(self, table: str, column: str, size: int) -> Floats:
        """Numbers from 0 up to, not including, 1."""
        return self.dice(table, column).random(size)

    def moments(
        self, table: str, column: str, size: int, low: float = 0.0, high: float = 1.0
    ) -> Ints:
        """Moments between two shares of the story."""
        return _whole(self.length * (low + (high - low) * self.units(table, column, size)))

    def days_before(self, table: str, column: str, size: int, most: int) -> Ints:
        """Moments, in whole seconds, from one day to `most` days before the story."""
        days = 1 + (most - 1) * self.units(table, column, size)
        return -_whole(days * DAY) // SECOND * SECOND

    def instants(self, at: Ints) -> pa.Array:
        since = (self.start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        return pa.array(at + since).cast(pa.timestamp("us", tz="UTC"))


@dataclass(frozen=True)
class _Customers:
    """What the customers' behaviour hangs on; the second plan holds from `changed_at`."""

    first_plan: Floats
    second_plan: Floats
    changed_at: Ints
    is_heavy: Bools

    def plan(self, customer: Ints, at: Ints) -> Floats:
        """The plan in force in Mbit/s; NaN for null, -1 for an invalid one."""
        changed = at >= self.changed_at[customer]
        return np.where(changed, self.second_plan[customer], self.first_plan[customer])


@dataclass(frozen=True)
class _Devices:
    """The devices; the last ones are strays, registered by nobody, and have a user all the same."""

    owner: Ints
    is_phone: Bools
    num_strays: int

    @property
    def num_registered(self) -> int:
        return len(self.owner) - self.num_strays


@dataclass(frozen=True)
class _Sessions:
    """One row a session; `end` may lie beyond the story."""

    device: Ints
    number: Ints
    server: Ints
    start: Ints
    end: Ints

    def __len__(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class _Happenings:
    """Events before they are measured; `session` is a place in `_Sessions`."""

    session: Ints
    rank: Ints
    at: Ints

    def picked(self, chosen: Ints | Bools) -> _Happenings:
        return _Happenings(self.session[chosen], self.rank[chosen], self.at[chosen])


# --- the story


def _whole(values: Floats) -> Ints:
    return np.rint(values).astype(np.int64)


def _customers(story: _Story) -> _Customers:
    """Some have a plan between the usual ones, none, or an invalid one (T2); some change (T8)."""
    number = np.arange(story.customers)
    plans = np.array(PLANS_MBPS, np.float64)

    def drawn(column: str) -> Floats:
        found: Floats = plans[story.dice(CUSTOMERS, column).integers(0, len(plans), len(number))]
        return found

    is_heavy = number % 23 == 1
    first, second = drawn("first_plan"), drawn("second_plan")
    odd = {3: 20.5, 7: math.nan, 13: -1.0, 17: 100.5}
    for place, plan in odd.items():
        first[number % 20 == place] = plan
    second[number % 25 == 7] = math.nan
    second[number % 25 == 17] = -1.0
    first[is_heavy] = np.maximum(first[is_heavy], 400)
    changes = (number % 5 == 2) & ~is_heavy
    changed_at = story.moments(CUSTOMERS, "changed_at", len(number), 0.2, 0.8)
    never = np.int64(2**62)
    return _Customers(first, second, np.where(changes, changed_at, never), is_heavy)


def _devices(story: _Story) -> _Devices:
    """One to three a customer, and a few strays."""
    of_customer = 1 + _whole(np.floor(3 * story.units(DEVICES, "of_customer", story.customers)))
    owner = np.repeat(np.arange(story.customers), of_customer)
    num_strays = max(2, len(owner) // 100)
    owner = np.append(owner, np.arange(num_strays) % story.customers)
    return _Devices(owner, story.units(DEVICES, "is_phone", len(owner)) < 0.5, num_strays)


def _servers_of(story: _Story, column: str, size: int) -> Ints:
    """Draws servers, by place; the last place is the one that is never declared (T7)."""
    places = np.arange(story.servers + 1)
    weights = np.where(places % 4 == 0, 2.0, 1.0)
    weights[-1] = 0.15
    bounds = np.cumsum(weights) / weights.sum()
    drawn = np.searchsorted(bounds, story.units(CONNECTIONS, column, size), side="right")
    return np.minimum(drawn, story.servers)


def _activity(story: _Story, at: Ints) -> Floats:
    """The share of sessions that come about: least in the early morning, most in the evening."""
    midnight = story.start.replace(hour=0, minute=0, second=0, microsecond=0)
    hours = (at + (story.start - midnight) // timedelta(microseconds=1)) / (3600 * SECOND)
    return 0.75 + 0.25 * np.cos((hours - 20) / 24 * 2 * np.pi)


def _sessions(story: _Story, devices: _Devices) -> _Sessions:
    """Each device is on and off in turn; some sessions follow at once, some overlap another."""
    shape = (len(devices.owner), math.ceil(story.length / (10 * MINUTE)) + 3)
    size = shape[0] * shape[1]
    on = np.clip(story.dice(CONNECTIONS, "on").lognormal(6.3, 0.8, shape), 40, 7200)
    off = 10 + story.dice(CONNECTIONS, "off").exponential(300, shape)
    off[story.dice(CONNECTIONS, "at_once").random(shape) < 0.05] = 0
    first = min(300, story.length / SECOND / 4) * story.units(CONNECTIONS, "first", shape[0])
    end = _whole((first[:, None] + np.cumsum(on + off, axis=1) - off) * SECOND).ravel()
    start = end - _whole(on * SECOND).ravel()
    comes = story.units(CONNECTIONS, "comes", size) < _activity(story, start)
    comes &= start < story.length

    device = np.repeat(np.arange(shape[0]), shape[1])
    home = _servers_of(story, "home", shape[0])[device]
    away = story.units(CONNECTIONS, "is_away", size) < 0.15
    server = np.where(away, _servers_of(story, "away", size), home)
    number = np.tile(np.arange(1, shape[1] + 1), shape[0])
    single = _Sessions(device[comes], number[comes], server[comes], start[comes], end[comes])

    doubled = story.units(CONNECTIONS, "is_doubled", size)[comes] < 0.05
    doubled[: 1 + len(single) // 50] = True
    length = (single.end - single.start)[doubled]
    other = np.where(
        story.units(CONNECTIONS, "is_elsewhere", size)[comes][doubled] < 0.5,
        _servers_of(story, "elsewhere", size)[comes][doubled],
        single.server[doubled],
    )
    second_start = single.start[doubled] + length // 3
    return _Sessions(
        np.append(single.device, single.device[doubled]),
        np.append(single.number, single.number[doubled] + 100_000),
        np.append(single.server, other),
        np.append(single.start, second_start),
        np.append(single.end, second_start + length),
    )


def _happenings(story: _Story, sessions: _Sessions) -> _Happenings:
    """Connects, samples and disconnects in the order of time; some are lost, or odd in time."""
    size = len(sessions)
    place = np.arange(size)
    length = sessions.end - sessions.start
    fate = story.units(CONNECTIONS, "fate", size)
    loses_disconnect = fate < 0.06
    loses_connect = (fate >= 0.06) & (fate < 0.08)
    connects_late = (fate >= 0.08) & (fate < 0.10)  # after its first samples
    reconnects = (fate >= 0.10) & (fate < 0.13)  # in one microsecond
    falls_silent = (fate >= 0.13) & (fate < 0.18) & (length > 25 * MINUTE)

    delay = _whole((40 + 80 * story.units(CONNECTIONS, "connect_delay", size)) * SECOND)
    connected_at = sessions.start + np.where(connects_late, np.minimum(delay, length), 0)
    middle = (sessions.start + length // 2)[reconnects]
    samples, sampled_at = _samples(story, sessions, falls_silent)
    parts = (
        (place[~loses_connect], CONNECT, connected_at[~loses_connect]),
        (place[~loses_disconnect], DISCONNECT, sessions.end[~loses_disconnect]),
        (place[reconnects], DISCONNECT, middle),
        (place[reconnects], CONNECT, middle),
        (samples, USAGE, sampled_at),
    )
    happenings = _Happenings(
        np.concatenate([session for session, _, _ in parts]),
        np.concatenate([np.full(len(session), rank) for session, rank, _ in parts]),
        np.concatenate([at for _, _, at in parts]),
    )
    happenings = happenings.picked(happenings.at <= story.length)
    return happenings.picked(np.lexsort((happenings.rank, happenings.session, happenings.at)))


def _samples(story: _Story, sessions: _Sessions, falls_silent: Bools) -> tuple[Ints, Ints]:
    """Sessions and times of the usage samples; some are lost."""
    until = np.minimum(sessions.end, story.length)
    num_samples = np.maximum(-(-(until - sessions.start) // SAMPLE), 0)
    samples = np.repeat(np.arange(len(sessions)), num_samples)
    first = np.cumsum(num_samples) - num_samples
    nth = np.arange(len(samples)) - first[samples]
    jitter = 0.2 + 0.6 * story.units(CONNECTIONS, "jitter", len(samples))
    since_start = nth * SAMPLE + _whole(jitter * SAMPLE)
    at = sessions.start[samples] + since_start
    kept = (at < until[samples]) & (story.units(CONNECTIONS, "sample_lost", len(samples)) >= 0.03)
    is_silent = (since_start > 4 * MINUTE) & (since_start < 21 * MINUTE)
    kept &= ~(falls_silent[samples] & is_silent)
    return samples[kept], at[kept]


def _orphans(story: _Story, num_sessions: int, num_devices: int) -> _Sessions:
    """Sessions that only a disconnect tells of (T3)."""
    size = 1 + num_sessions // 100
    device = story.dice(CONNECTIONS, "orphan").integers(0, num_devices, size)
    at = story.moments(CONNECTIONS, "orphaned_at", size)
    server = _servers_of(story, "orphan_server", size)
    return _Sessions(device, 200_000 + np.arange(size), server, at, at)


def _ending_sets(
    story: _Story, every: int, sessions: _Sessions, ordered: _Happenings
) -> _Happenings:
    """Moves the last event of each set to the set's end, so that the newest is not a bit old.

    A set without an event gets a usage sample there, of a session that is open if any is.
    """
    number = -(-ordered.at // every)
    is_last = np.append(number[1:] != number[:-1], True) & (number * every <= story.length)
    moved = np.where(is_last, number * every, ordered.at)
    lacking = np.setdiff1d(np.arange(every, story.length + 1, every), moved)

    begun = np.argsort(sessions.start, kind="stable")
    end = sessions.end[begun]
    is_longest = end == np.maximum.accumulate(end)
    longest = begun[np.maximum.accumulate(np.where(is_longest, np.arange(len(begun)), 0))]
    num_begun = np.searchsorted(sessions.start[begun], lacking, side="right")
    session = np.append(ordered.session, longest[np.maximum(num_begun - 1, 0)])
    rank = np.append(ordered.rank, np.full(len(lacking), USAGE))
    at = np.append(moved, lacking)
    return _Happenings(session, rank, at).picked(np.argsort(at, kind="stable"))


class _Capacities(NamedTuple):
    """By server, in Mbit/s: NaN is unknown; the second holds from `raised_at`."""

    first: Floats
    second: Floats
    raised_at: Ints

    def at(self, server: Ints, at: Ints) -> Floats:
        return np.where(at >= self.raised_at[server], self.second[server], self.first[server])


def _capacities(story: _Story, wanted: Floats) -> _Capacities:
    """Every fourth server is too small for what is wanted of it on average; some are raised."""
    steps = np.array(CAPACITIES_MBPS, np.float64)
    place = np.arange(story.servers)
    roomier = story.dice(SERVERS, "roomier").integers(0, 3, story.servers)
    small = np.searchsorted(steps, 0.8 * wanted, side="right") - 1
    ample = np.searchsorted(steps, 2 * wanted) + roomier
    step = np.where(place % 4 == 0, small, ample)
    raised = step + np.where(place % 8 == 0, 4, np.where(place % 4 == 1, 1, 0))
    first, second = (steps[np.clip(index, 0, len(steps) - 1)] for index in (step, raised))
    if story.servers >= 4:
        first[-2:] = second[-2:] = math.nan, 0.0
    raised_at = story.moments(SERVERS, "raised_at", story.servers, 0.4, 0.6)
    return _Capacities(first, second, np.where(first == second, np.int64(2**62), raised_at))


class _Measures(NamedTuple):
    """Of usage events: Mbit/s and bytes."""

    asked: Floats
    received: Floats
    num_bytes: Ints


def _measures(
    story: _Story,
    sessions: _Sessions,
    happenings: _Happenings,
    devices: _Devices,
    customers: _Customers,
) -> tuple[_Measures, _Capacities]:
    """What the usage events measure, in their order, and capacities that some servers exceed."""
    is_usage = happenings.rank == USAGE
    session, at = happenings.session[is_usage], happenings.at[is_usage]
    device = sessions.device[session]
    owner = devices.owner[device]
    plan = customers.plan(owner, at)
    plan = np.where(plan >= 0, plan, DEMAND_OF_UNKNOWN_PLAN)
    taste = 0.05 + 0.55 * story.units(CONNECTIONS, "taste", len(sessions))[session]
    taste *= np.where(devices.is_phone[device], 0.4, 1.0)
    taste = np.where(customers.is_heavy[owner], 0.9, taste)
    mood = story.dice(CONNECTIONS, "mood").lognormal(0, 0.35, len(at))
    asked: Floats = np.minimum(plan * taste * mood, 1.2 * plan)
    asked[story.units(CONNECTIONS, "is_idle", len(at)) < 0.05] = 0
    asked = np.round(asked, 3)

    wanted = np.minimum(asked, plan)
    server = sessions.server[session]
    num_minutes = math.ceil(story.length / MINUTE) + 1
    minute = server * num_minutes + at // MINUTE
    # Each sample stands for half a minute.
    by_minute = np.bincount(minute, wanted, (story.servers + 1) * num_minutes) * SAMPLE / MINUTE
    on_average = by_minute.reshape(-1, num_minutes).sum(axis=1) * MINUTE / story.length
    capacities = _capacities(story, on_average[:-1])
    declared = server < story.servers
    capacity = np.where(
        declared, capacities.at(np.minimum(server, story.servers - 1), at), math.nan
    )
    is_limited = (capacity > 0) & (by_minute[minute] > 0.95 * capacity)
    share = np.ones(len(at))
    share[is_limited] = 0.95 * capacity[is_limited] / by_minute[minute[is_limited]]
    quality = 0.86 + 0.14 * story.units(CONNECTIONS, "quality", len(at))
    # Where all is in use, all of it is.
    received: Floats = np.round(wanted * np.where(is_limited, share, quality), 3)

    order = np.lexsort((at, session))
    since = np.append(0, at[order][:-1])
    is_first = np.append(-1, session[order][:-1]) != session[order]
    since[is_first] = sessions.start[session[order]][is_first]
    elapsed = np.empty_like(at)
    elapsed[order] = np.maximum(at[order] - since, 0)
    num_bytes = _whole(received * 1e6 / 8 * elapsed / SECOND)
    return _Measures(asked, received, num_bytes), capacities


def _connections(
    story: _Story,
    sessions: _Sessions,
    happenings: _Happenings,
    devices: _Devices,
    measures: _Measures,
) -> _Told:
    """The events in the order of time; a few are told twice with other measures."""
    size = len(happenings.at)
    is_usage = happenings.rank == USAGE
    rows = np.arange(size)
    differs = np.zeros(size, np.bool_)
    differs[is_usage] = measures.received > 0.1
    conflicts = differs & (story.units(CONNECTIONS, "conflict", size) < 0.001)
    conflicts[np.flatnonzero(differs)[:1]] = True
    rows = np.concatenate((rows, rows[conflicts]))
    order = np.argsort(rows, kind="stable")
    is_other = (np.arange(len(rows)) >= size)[order]
    rows = rows[order]

    session, rank, at = happenings.session[rows], happenings.rank[rows], happenings.at[rows]
    no_measure = rank != USAGE
    device = sessions.device[session]
    is_spelt_otherwise = story.units(CONNECTIONS, "spelling", size)[rows] < 0.002
    spelling = pa.DictionaryArray.from_arrays(
        pa.array(rank + 3 * is_spelt_otherwise, pa.int8()), pa.array(SPELLINGS)
    )

    def spread(values: Floats | Ints) -> NDArray[Any]:
        of_event = np.zeros(size, values.dtype)
        of_event[is_usage] = values
        return of_event[rows]

    def measured(values: Floats | Ints, other: Floats | Ints) -> pa.Array:
        return pa.array(np.where(is_other, spread(other), spread(values)), mask=no_measure)

    asked, received, num_bytes = measures
    table = pa.table(
        {
            "event_id": FIRST_EVENT + rows,
            "session_id": sessions.number[session],
            "device_id": FIRST_DEVICE + device,
            "server_id": FIRST_SERVER + sessions.server[session],
            "event_type": spelling.dictionary_decode(),
            "event_at": story.instants(at),
            "asked_mbps": measured(asked, asked),
            "received_mbps": measured(received, np.round(received * 0.9, 3)),
            "bytes": measured(num_bytes, num_bytes * 9 // 10),
        },
        SCHEMAS[CONNECTIONS],
    )
    folder = devices.is_phone[device].astype(np.int64) * 2 + (rank == DISCONNECT)
    return _Told(table, at, folder)


# --- the dimensions


def _told(table: str, columns: Mapping[str, Any], at: Ints) -> _Told:
    """In the order of delivery."""
    order = np.argsort(at, kind="stable")
    rows = pa.table(dict(columns), SCHEMAS[table]).take(order)
    return _Told(rows, at[order], np.zeros(len(at), np.int64))


def _made_up(story: _Story, column: str, size: int) -> list[str]:
    """Names, addresses or places, as many as are asked for, from at most `MADE_UP`."""
    fake = Faker("en_US")
    fake.seed_instance(f"{story.seed}/{column}")
    makers = {
        "name": fake.name,
        "company": fake.company,
        "address": lambda: fake.address().replace("\n", ", "),
        "location": fake.city,
    }
    pool = [makers[column]() for _ in range(min(size, MADE_UP))]
    return [pool[n % MADE_UP] for n in range(size)]


def _told_servers(story: _Story, capacities: _Capacities) -> _Told:
    """Known before the story; raised in it; one twice for one moment, one for a moment to come."""
    place = np.arange(story.servers)
    valid_from = story.days_before(SERVERS, "valid_from", story.servers, 400)
    valid_from[place % 4 == 2] = story.length // 3
    is_raised = capacities.raised_at <= story.length
    is_twice = (place % 6 == 1) & (capacities.first > 0)
    parts = (
        (place, capacities.first, valid_from, np.zeros(story.servers, np.int64)),
        (
            place[is_twice],
            capacities.first[is_twice] / 2,
            valid_from[is_twice],
            0 * place[is_twice],
        ),
        (
            place[is_raised],
            capacities.second[is_raised],
            capacities.raised_at[is_raised],
            capacities.raised_at[is_raised],
        ),
    )
    server, capacity, since, at = (np.concatenate(column) for column in zip(*parts, strict=True))
    locations = _made_up(story, "location", story.servers)
    columns = {
        "server_id": FIRST_SERVER + server,
        "location": [locations[n] for n in server],
        "capacity_mbps": pa.array(capacity, mask=np.isnan(capacity)),
        "valid_from": story.instants(since),
    }
    return _told(SERVERS, columns, at)


def _told_customers(story: _Story, customers: _Customers) -> _Told:
    """Known before the story; some change their plan, some come twice for one moment."""
    number = np.arange(story.customers)
    valid_from = story.days_before(CUSTOMERS, "valid_from", story.customers, 900)
    valid_from[number % 31 == 9] = story.length // 5
    changes = customers.changed_at <= story.length
    twice = number[(number % 29 == 4) & ~np.isnan(customers.first_plan)]
    parts = (
        (number, customers.first_plan, valid_from, 0 * number),
        (twice, np.full(len(twice), math.nan), valid_from[twice], 0 * twice),
        (
            number[changes],
            customers.second_plan[changes],
            customers.changed_at[changes],
            customers.changed_at[changes],
        ),
    )
    customer, plan, since, at = (np.concatenate(column) for column in zip(*parts, strict=True))
    is_business = story.units(CUSTOMERS, "is_business", story.customers) < 0.2
    names, companies, addresses = (
        _made_up(story, column, story.customers) for column in ("name", "company", "address")
    )
    columns = {
        "customer_id": FIRST_CUSTOMER + customer,
        "kind": ["business" if is_business[n] else "residential" for n in customer],
        "name": [companies[n] if is_business[n] else names[n] for n in customer],
        "address": [addresses[n] for n in customer],
        "plan_mbps": pa.array(plan, mask=np.isnan(plan)),
        "valid_from": story.instants(since),
    }
    return _told(CUSTOMERS, columns, at)


def _told_devices(story: _Story, devices: _Devices) -> _Told:
    """Most known before the story; some go to the next customer midway, or have two at once."""
    number = np.arange(devices.num_registered)
    owner = devices.owner[: len(number)]
    registered_at = story.days_before(DEVICES, "registered_at", len(number), 700)
    in_story = story.units(DEVICES, "is_new", len(number)) < 0.1
    registered_at[in_story] = story.moments(DEVICES, "new_at", len(number), 0, 0.3)[in_story]
    heir = (owner + 1) % story.customers
    midway = story.moments(DEVICES, "midway", len(number), 0.3, 0.7)
    goes, twice = number % 13 == 5, number % 37 == 11
    parts = (
        (number, owner, registered_at),
        (number[twice], heir[twice], registered_at[twice]),
        (number[goes], heir[goes], midway[goes]),
    )
    device, customer, since = (np.concatenate(column) for column in zip(*parts, strict=True))
    spellings = ("computer", "phone", "Computer", "Phone ")
    odd = 2 * (device % 19 == 3)
    types = [spellings[n] for n in devices.is_phone[device] + odd]
    columns = {
        "device_id": FIRST_DEVICE + device,
        "customer_id": FIRST_CUSTOMER + customer,
        "device_type": pa.array(types, mask=device % 41 == 20),
        "ipv4": pa.array(_addresses(story, len(number))).take(device),
        "registered_at": story.instants(since),
    }
    return _told(DEVICES, columns, np.maximum(since, 0))


def _addresses(story: _Story, size: int) -> list[str]:
    """Private IPv4 addresses of all three blocks."""
    octets = story.dice(DEVICES, "ipv4").integers(0, 256, (size, 4)).tolist()
    return [
        (
            f"192.168.{second}.{third}"
            if block < 128
            else f"172.{16 + first % 16}.{second}.{third}"
            if block < 160
            else f"10.{first}.{second}.{third}"
        )
        for block, first, second, third in octets
    ]


def _tell(story: _Story) -> dict[str, _Told]:
    """All clean rows of the story."""
    customers, devices = _customers(story), _devices(story)
    sessions = _sessions(story, devices)
    happenings = _happenings(story, sessions)
    orphans = _orphans(story, len(sessions), len(devices.owner))
    place = len(sessions) + np.arange(len(orphans))
    at = np.append(happenings.at, orphans.end)
    order = np.argsort(at, kind="stable")
    happenings = _Happenings(
        np.append(happenings.session, place)[order],
        np.append(happenings.rank, np.full(len(place), DISCONNECT))[order],
        at[order],
    )
    sessions = _Sessions(
        np.append(sessions.device, orphans.device),
        np.append(sessions.number, orphans.number),
        np.append(sessions.server, orphans.server),
        np.append(sessions.start, orphans.start),
        np.append(sessions.end, orphans.end),
    )
    if story.snap:
        happenings = _ending_sets(story, story.snap, sessions, happenings)
    measures, capacities = _measures(story, sessions, happenings, devices, customers)
    return {
        SERVERS: _told_servers(story, capacities),
        CUSTOMERS: _told_customers(story, customers),
        DEVICES: _told_devices(story, devices),
        CONNECTIONS: _connections(story, sessions, happenings, devices, measures),
    }


# --- the delivery


class _Delivered(NamedTuple):
    """Rows in the order of delivery; the rows of set n end before the n-th of `ends`."""

    rows: pa.Table
    folder: Ints
    ends: Ints


def _deliver(
    story: _Story,
    table: str,
    told: _Told,
    *,
    every: int,
    num_sets: int,
    late: float,
    duplicates: float,
    corrupt: float,
) -> _Delivered:
    """Adds what is doubled and what is broken, and puts all in the order of delivery."""
    size = len(told.at)
    row = np.arange(size)

    def hit(column: str, share: float) -> Bools:
        return story.units(table, column, size) < share

    at = told.at.copy()
    delay = MINUTE + _whole((MOST_LATE - MINUTE) * story.units(table, "delay", size))
    is_late = hit("late", late)
    if story.snap and table == CONNECTIONS:
        is_late &= told.at % story.snap != 0  # what ends a set comes with it
    at[is_late] += delay[is_late]
    again = row[hit("twice", duplicates)]
    pause = _whole(MOST_LATE * story.units(table, "pause", size))
    pause[story.units(table, "same_file", size) < 0.3] = 0
    broken, source = _broken(story, table, told, corrupt)
    rows = pa.concat_tables([told.rows, told.rows.take(again), broken]).combine_chunks()
    source = np.concatenate((row, again, source))
    at = np.concatenate((at, at[again] + pause[again], at[source[size + len(again) :]]))
    number = np.clip(-(-at // every), 0, num_sets)
    order = np.lexsort((source, at, number))
    ends = np.searchsorted(number[order], np.arange(num_sets + 1), side="right")
    return _Delivered(rows.take(order), told.folder[source[order]], ends)


def _broken(story: _Story, table: str, told: _Told, corrupt: float) -> tuple[pa.Table, Ints]:
    """Rows broken in one field each, and the whole ones they are made of; each way comes once."""
    ways = BROKEN_VALUES[table]
    size = len(told.at)
    if corrupt == 0 or size == 0:
        return told.rows.slice(0, 0), np.array([], np.int64)
    any_way = story.dice(table, "way").integers(0, len(ways), size)
    candidates = np.arange(size)
    if table == CONNECTIONS:
        is_usage = told.rows["asked_mbps"].is_valid().to_numpy()
        any_way = np.where(is_usage, any_way, any_way % WAYS_OF_ANY_EVENT)
        candidates = candidates[is_usage]
    at_random = np.flatnonzero(story.units(table, "corrupt", size) < corrupt)
    each_once = np.arange(len(ways)) if len(candidates) else at_random[:0]
    source = np.concatenate((candidates[each_once % max(len(candidates), 1)], at_random))
    way = np.concatenate((each_once, any_way[at_random]))
    rows = told.rows.take(source)
    for nth, (column, value) in enumerate(ways):
        index = rows.schema.get_field_index(column)
        field = rows.schema.field(index)
        broken = pc.if_else(pa.array(way == nth), pa.scalar(value, field.type), rows[column])
        rows = rows.set_column(index, field, broken)
    return rows, source


def _content(rows: pa.Table) -> bytes:
    """A Parquet file without anything that differs from one run to the next."""
    sink = io.BytesIO()
    pq.write_table(
        rows,
        sink,
        compression="zstd",
        compression_level=3,
        use_dictionary=[
            name for name in ("event_type", "kind", "device_type") if name in rows.column_names
        ],
        version="2.6",
        store_schema=False,
    )
    return sink.getvalue()


def sets(
    seed: int,
    *,
    minutes: int = 60,
    servers: int = 8,
    customers: int = 60,
    late: float = 0.0,
    duplicates: float = 0.0,
    reversed_: bool = False,
    corrupt: float = 0.0,
    every: float = 60.0,
    start: datetime = START,
    ends_with_event: bool = False,
) -> Iterator[FileSet]:
    """Tells a story and cuts it into sets of files. The same arguments, the same bytes.

    The first set, at second 0, holds what is known at the start; each other one what happened since
    the set before, up to and including its own moment.

    Args:
        seed: Another seed, another story.
        minutes: The story's length in event time; the data grow with it.
        servers: The number of declared servers, one more is not declared.
        customers: The number of customers; the data grow with it.
        late: The share of rows, 0 to 1, that come 1 to 20 minutes late; what would come after the
            story's end comes in one more set.
        duplicates: The share of rows that come twice; above 0, a file comes under another name too.
        reversed_: Whether the last set comes first, and in every file the last row.
        corrupt: The share of rows beside which a broken row comes; above 0, every way to be broken
            comes at least once, and two files come that cannot be read.
        every: Seconds of delivery time that one set holds.
        start: When the story starts, with a time zone.
        ends_with_event: Whether each set whose moment lies within the story has an event of this
            very moment, its last, whatever else comes late: the last one is moved there, and where
            there is none, one is added.

    Raises:
        ValueError: An argument is out of its range.
    """
    for name, number in (("minutes", minutes), ("servers", servers), ("customers", customers)):
        if number < 1:
            raise ValueError(f"{name} must be 1 or more; got {number}")
    check_shares(late=late, duplicates=duplicates, corrupt=corrupt)
    if not every > 0:
        raise ValueError(f"every must be more than 0 seconds; got {every}")
    check_start(start)
    step = max(round(every * SECOND), 1)
    story = _Story(
        seed,
        minutes * MINUTE,
        servers,
        customers,
        start.astimezone(UTC),
        step if ends_with_event else None,
    )
    return _cut(story, step, late=late, duplicates=duplicates, corrupt=corrupt, reversed_=reversed_)


def _cut(
    story: _Story, every: int, *, late: float, duplicates: float, corrupt: float, reversed_: bool
) -> Iterator[FileSet]:
    last = -(-story.length // every) + 1  # what comes after the story
    delivered: dict[str, _Delivered] = {}
    told = _tell(story)
    for table in SCHEMAS:
        delivered[table] = _deliver(
            story,
            table,
            told.pop(table),
            every=every,
            num_sets=last,
            late=late,
            duplicates=duplicates,
            corrupt=corrupt,
        )
    prefix = f"network-{story.seed}-{story.start:%Y%m%dT%H%M%S}"
    owes_again, owes_unreadable = duplicates > 0, corrupt > 0
    for position, number in enumerate(range(last, -1, -1) if reversed_ else range(last + 1)):
        name = f"{prefix}-{position:05d}"
        files = {
            table: _files(table, of_table, number, name, reversed_)
            for table, of_table in delivered.items()
        }
        refused: tuple[str, ...] = ()
        if files[CONNECTIONS]:
            path, content = next(iter(files[CONNECTIONS].items()))
            if owes_again:
                owes_again = False
                files[CONNECTIONS][path.replace(".parquet", "-again.parquet")] = content
            if owes_unreadable:
                owes_unreadable = False
                cut_off = path.replace(".parquet", "-cut-off.parquet")
                text = f"{name}-text.parquet"
                files[CONNECTIONS][cut_off] = content[: len(content) // 2]
                files[CUSTOMERS][text] = b"customer_id,plan_mbps\n1001,100\n"
                refused = (f"{CONNECTIONS}/{cut_off}", f"{CUSTOMERS}/{text}")
        with_rows = {table: named for table, named in files.items() if named}
        if with_rows:
            yield FileSet(position * every / SECOND, with_rows, refused)


def _files(
    table: str, delivered: _Delivered, number: int, name: str, reversed_: bool
) -> dict[str, bytes]:
    """The set's files of a table, by path; only those with rows."""
    begin = int(delivered.ends[number - 1]) if number else 0
    end = int(delivered.ends[number])
    rows, folder = delivered.rows.slice(begin, end - begin), delivered.folder[begin:end]
    if reversed_:
        rows, folder = rows.take(np.arange(len(folder))[::-1]), folder[::-1]
    if table != CONNECTIONS:
        return {f"{name}.parquet": _content(rows)} if len(rows) else {}
    return {
        f"{DEVICE_TYPES[of // 2]}/{STATUSES[of % 2]}/{name}.parquet": _content(
            rows.filter(pa.array(folder == of))
        )
        for of in np.unique(folder).tolist()
    }


# --- writing


def messages_of(content: bytes) -> list[Message]:
    """The rows of a file of connections as messages of their topic.

    A file that cannot be read is one message, in hexadecimal.
    """
    try:
        rows = pq.read_table(io.BytesIO(content)).to_pylist()
    except pa.ArrowInvalid:
        return [Message("connections", None, content.hex().encode(), 0)]
    return [
        Message(
            "connections",
            str(row["device_id"]).encode(),
            json.dumps(row, default=datetime.isoformat).encode(),
            round(row["event_at"].timestamp() * 1000) if row["event_at"] else 0,
        )
        for row in rows
    ]


def write(
    home: Home,
    seed: int,
    *,
    minutes: int = 60,
    servers: int = 8,
    customers: int = 60,
    late: float = 0.0,
    duplicates: float = 0.0,
    reversed_: bool = False,
    corrupt: float = 0.0,
    start: datetime = START,
    send: Send | None = None,
) -> list[Path]:
    """Writes the sets of `sets`, a minute each, to the inbox.

    Args:
        home: Where to.
        seed: As in `sets`, like all the others.
        minutes: See there.
        servers: See there.
        customers: See there.
        late: See there.
        duplicates: See there.
        reversed_: See there.
        corrupt: See there.
        start: See there; the files must not be ingested more than an hour before the story's end.
        send: Sends the events of sessions, which then come as no files.

    Returns:
        The files in order of delivery.
    """
    told = sets(
        seed,
        minutes=minutes,
        servers=servers,
        customers=customers,
        late=late,
        duplicates=duplicates,
        reversed_=reversed_,
        corrupt=corrupt,
        start=start,
    )
    inbox = Inbox(home, send, {CONNECTIONS: messages_of})
    for files in told:
        inbox.prepare(files)
        inbox.reveal()
    return inbox.close()


def deliver(
    home: Home,
    seed: int,
    *,
    every: float,
    minutes: int = 60,
    servers: int = 8,
    customers: int = 60,
    late: float = 0.0,
    duplicates: float = 0.0,
    corrupt: float = 0.0,
    now: datetime | None = None,
    send: Send | None = None,
) -> list[Path]:
    """Delivers the sets of `sets` as the story happens; an interrupt (Ctrl-C) ends it in order.

    Each set appears at its moment of real time, so the newest event is as old as the delivery. Sets
    whose moment is past come at once.

    Args:
        home: Where to.
        seed: As in `sets`, like all the others but the last.
        every: See there.
        minutes: See there.
        servers: See there.
        customers: See there.
        late: See there.
        duplicates: See there.
        corrupt: See there.
        now: When the story starts, with a time zone; None: at this moment.
        send: Sends the events of sessions, which then come as no files.

    Returns:
        The files that were delivered, in their order.
    """
    start = now or datetime.now(UTC)
    told = sets(
        seed,
        minutes=minutes,
        servers=servers,
        customers=customers,
        late=late,
        duplicates=duplicates,
        corrupt=corrupt,
        every=every,
        start=start,
        ends_with_event=True,
    )
    inbox = Inbox(home, send, {CONNECTIONS: messages_of})
    try:
        for files in told:
            inbox.prepare(files)
            time.sleep(max(start.timestamp() + files.at - time.time(), 0))
            inbox.reveal()
    except KeyboardInterrupt:
        pass
    return inbox.close()
