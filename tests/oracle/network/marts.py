"""What the network marts must hold for given deliveries, worked out apart from Spark and SQL.

    delivered Parquet files --read_files--> rows --answers--> the marts' rows and the accounts

Times are whole microseconds since 1970 UTC, speeds whole bits per second, and sums are of integers:
nothing depends on the order of arrival. Large tables are numpy columns; what is counted in rows of
a mart is plain Python. The cases T1 to T9 that the comments name are told in
`tests/unit/test_network_answers.py`.
"""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from itertools import pairwise
from operator import mul
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from generators.network.tables import CONNECTIONS, CUSTOMERS, DEVICES, SCHEMAS, SERVERS

MARTS: Final = (
    "server_load",
    "server_upgrade_candidates",
    "heavy_users",
    "subscribed_vs_received",
    "bandwidth_summary",
    "server_weekly",
)

SECOND: Final = 1_000_000
WINDOW: Final = 300 * SECOND
STEP: Final = 5 * SECOND
"""From one instant, at which the used bandwidth is taken, to the next."""
INSTANTS: Final = WINDOW // STEP
SILENCE: Final = 900 * SECOND
"""A session without any event for so long is lost."""
STANDING: Final = 60 * SECOND
"""So long at most a usage sample stands for what is used."""
UPGRADE_WINDOWS: Final = 8640
"""Those of 30 days."""
CAPACITY_STEPS_MBPS: Final = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 40_000, 100_000)
MAX_CLOCK_SKEW: Final = 3600 * SECOND
MAX_MBPS: Final = 1e9
# Of a sample.
MAX_SAMPLE_MBPS: Final = 1e6
MAX_BYTES: Final = 10**13
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""What is told of an earlier time, a clock told that was never set."""

CONNECT, USAGE, DISCONNECT = 0, 1, 2
"""Ranks of the event types: the order of what happens in one microsecond."""
EVENT_TYPES: Final = ("connect", "usage", "disconnect")
CONNECTION_REJECTS: Final = (
    "event_id is missing",
    "session_id is missing",
    "device_id is missing",
    "server_id is missing",
    "event_type is none of connect, disconnect, usage",
    "event_at is unreadable",
    "event_at is in the future",
    "event_at is before the earliest time",
    "asked_mbps is not a speed",
    "received_mbps is not a speed",
    "bytes is not a number of bytes",
)
UNMATCHED: Final = (
    "the device is not registered",
    "the server is not known",
    "a disconnect without a connect",
    "usage without a connect",
)
DEVICE_TYPES: Final = ("computer", "phone", "unknown")
SPEED_CLASSES: Final = ("low", "medium", "high", "unknown", "invalid")

_NONE: Final = -1
"""In a column of whole numbers that are never negative: null."""
_FOREVER: Final = 2**62
_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BEGINNING_OF_TIME: Final = -2_208_988_800_000_000
"""1900-01-01, in microseconds since 1970."""
_END_OF_TIME: Final = 253_402_214_400_000_000
"""9999-12-31."""
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_PRIVATE_IPV4: Final = re.compile(
    rf"(?:10\.{_OCTET}|172\.(?:1[6-9]|2\d|3[01])|192\.168)\.{_OCTET}\.{_OCTET}", re.ASCII
)

Tables: TypeAlias = Mapping[str, Sequence[pa.Table]]
"""Delivered rows by full table name, a table a file."""
Row: TypeAlias = dict[str, Any]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Payload = TypeVar("Payload")
Typed = TypeVar("Typed", bound=Hashable)


class _Server(NamedTuple):
    server: int
    location: str | None
    capacity_bps: int | None
    valid_from: int


class _Customer(NamedTuple):
    customer: int
    kind: str | None
    name: str | None
    address: str | None
    plan_bps: int | None
    is_plan_invalid: bool
    valid_from: int


class _Device(NamedTuple):
    device: int
    customer: int
    device_type: str | None
    ipv4: str | None
    registered_at: int


@dataclass(frozen=True)
class _Events:
    """Columns of connection events; measures are `_NONE` but in usage events."""

    server: Ints
    session: Ints
    device: Ints
    at: Ints
    rank: Ints
    received_bps: Ints
    asked_bps: Ints
    num_bytes: Ints
    number: Ints

    def __len__(self) -> int:
        return len(self.at)

    def columns(self) -> list[Ints]:
        return [getattr(self, field.name) for field in fields(self)]

    def picked(self, chosen: Ints | Bools) -> _Events:
        return _Events(*(column[chosen] for column in self.columns()))


@dataclass(frozen=True)
class _Sessions:
    """Events in session order, and what they mean: an interval [at, end) where `opens`."""

    events: _Events
    end: Ints
    opens: Bools
    was_open: Bools


@dataclass(frozen=True)
class _Known:
    """What the dimensions say about every event at its time; codes index the constants above."""

    customer: Ints
    has_customer: Bools
    device_type: Ints
    speed_class: Ints
    plan_bps: Ints


@dataclass(frozen=True)
class _Pieces:
    """The time that usage samples stand for, cut at the midnights of the report's time zone."""

    event: Ints
    day: Ints
    micros: Ints


# --- reading what was delivered


def read_files(paths: Mapping[str, Iterable[Path]]) -> dict[str, list[pa.Table]]:
    """Reads delivered files. Equal contents count once a table (T1).

    Args:
        paths: Parquet files by full table name, without those that the gate refuses.

    Raises:
        pyarrow.ArrowInvalid, OSError: A file cannot be read to its end.
    """
    return read_contents(
        {table: (path.read_bytes() for path in of_table) for table, of_table in paths.items()}
    )


def read_contents(files: Mapping[str, Iterable[bytes]]) -> dict[str, list[pa.Table]]:
    """The same as `read_files`, from contents."""
    tables: dict[str, list[pa.Table]] = {table: [] for table in SCHEMAS}
    for table, contents in files.items():
        seen: set[bytes] = set()
        for content in contents:
            digest = hashlib.sha256(content).digest()
            if digest not in seen:
                seen.add(digest)
                tables[table].append(pq.read_table(pa.BufferReader(content), use_threads=False))
    return tables


def _whole(tables: Tables, table: str) -> pa.Table:
    """All rows of a table, times as microseconds since 1970."""
    schema = SCHEMAS[table]
    delivered = [part.select(schema.names).cast(schema) for part in tables.get(table, ())]
    whole = pa.concat_tables([schema.empty_table(), *delivered])
    for index, field in enumerate(schema):
        if pa.types.is_timestamp(field.type):
            whole = whole.set_column(index, field.name, whole[field.name].cast(pa.int64()))
    return whole


# --- typing


def _is_out_of_range(micros: int | None) -> bool:
    """Whether no version can begin then: first versions begin with time, last ones end with it."""
    return micros is not None and not _BEGINNING_OF_TIME < micros < _END_OF_TIME


def _is_before(micros: int | None, earliest: int) -> bool:
    return micros is not None and micros < earliest


def bits_per_second(mbps: float | None) -> int | None:
    """A speed in whole bits per second, rounded half up; None where it is no speed."""
    if mbps is None or not 0 <= mbps <= MAX_MBPS:
        return None
    return int(Decimal(repr(mbps)).quantize(Decimal("1e-6"), ROUND_HALF_UP).scaleb(6))


def is_private_ipv4(text: str) -> bool:
    """Says whether text is an address of 10/8, 172.16/12 or 192.168/16, in dotted decimal."""
    return _PRIVATE_IPV4.fullmatch(text) is not None


def _word(text: str | None) -> str | None:
    """As SQL's lower(trim()): only spaces are trimmed."""
    return None if text is None else text.strip(" ").lower()


def _one_of(text: str | None, allowed: Sequence[str]) -> str | None:
    word = _word(text)
    return word if word in allowed else None


def _first(*faults: tuple[bool, str]) -> str | None:
    return next((reason for applies, reason in faults if applies), None)


class _Account(Generic[Typed]):
    """Sorts a table's rows into accepted ones and rejects, and counts."""

    def __init__(self) -> None:
        self.events_in = 0
        self.worthy = 0
        self.accepted: set[Typed] = set()
        self.row_rejects: Counter[str] = Counter()
        self.field_rejects: Counter[str] = Counter()

    def take(self, typed: Typed, row_fault: str | None, field_fault: str | None) -> None:
        self.events_in += 1
        if row_fault:
            self.row_rejects[row_fault] += 1
            return
        if field_fault:
            self.field_rejects[field_fault] += 1
        self.worthy += 1
        self.accepted.add(typed)

    def counts(self) -> dict[str, int]:
        return _counts(
            events_in=self.events_in,
            worthy=self.worthy,
            accepted=len(self.accepted),
            row_rejects=self.row_rejects.total(),
            field_rejects=self.field_rejects.total(),
        )


def _counts(
    *,
    events_in: int,
    worthy: int,
    accepted: int,
    row_rejects: int,
    field_rejects: int = 0,
    conflicts: int = 0,
) -> dict[str, int]:
    return {
        "events_in": events_in,
        "accepted": accepted,
        "duplicates": worthy - accepted,
        "row_rejects": row_rejects,
        "field_rejects": field_rejects,
        "conflicts": conflicts,
    }


def _servers(tables: Tables, earliest: int) -> _Account[_Server]:
    account: _Account[_Server] = _Account()
    for row in _whole(tables, SERVERS).to_pylist():
        capacity = bits_per_second(row["capacity_mbps"])
        account.take(
            _Server(row["server_id"], row["location"], capacity, row["valid_from"]),
            _first(
                (row["server_id"] is None, "server_id is missing"),
                (row["valid_from"] is None, "valid_from is missing"),
                (_is_out_of_range(row["valid_from"]), "valid_from is out of range"),
                (_is_before(row["valid_from"], earliest), "valid_from is before the earliest time"),
            ),
            _first(
                (
                    row["capacity_mbps"] is not None and capacity is None,
                    "capacity_mbps is not a speed",
                )
            ),
        )
    return account


def _customers(tables: Tables, earliest: int) -> _Account[_Customer]:
    account: _Account[_Customer] = _Account()
    for row in _whole(tables, CUSTOMERS).to_pylist():
        plan = bits_per_second(row["plan_mbps"])
        is_plan_invalid = row["plan_mbps"] is not None and plan is None
        kind = _one_of(row["kind"], ("residential", "business"))
        account.take(
            _Customer(
                row["customer_id"],
                kind,
                row["name"],
                row["address"],
                plan,
                is_plan_invalid,
                row["valid_from"],
            ),
            _first(
                (row["customer_id"] is None, "customer_id is missing"),
                (row["valid_from"] is None, "valid_from is missing"),
                (_is_out_of_range(row["valid_from"]), "valid_from is out of range"),
                (_is_before(row["valid_from"], earliest), "valid_from is before the earliest time"),
            ),
            _first(
                (is_plan_invalid, "plan_mbps is not a speed"),
                (
                    row["kind"] is not None and kind is None,
                    "kind is none of residential, business",
                ),
            ),
        )
    return account


def _devices(tables: Tables, earliest: int, latest: int) -> _Account[_Device]:
    account: _Account[_Device] = _Account()
    for row in _whole(tables, DEVICES).to_pylist():
        registered_at = row["registered_at"]
        device_type = _one_of(row["device_type"], ("computer", "phone"))
        ipv4 = row["ipv4"] if row["ipv4"] is not None and is_private_ipv4(row["ipv4"]) else None
        account.take(
            _Device(row["device_id"], row["customer_id"], device_type, ipv4, registered_at),
            _first(
                (row["device_id"] is None, "device_id is missing"),
                (row["customer_id"] is None, "customer_id is missing"),
                (
                    registered_at is not None and registered_at <= _BEGINNING_OF_TIME,
                    "registered_at is out of range",
                ),
                (registered_at is None, "registered_at is unreadable"),
                (
                    registered_at is not None and registered_at > latest,
                    "registered_at is in the future",
                ),
                (
                    _is_before(registered_at, earliest),
                    "registered_at is before the earliest time",
                ),
            ),
            _first(
                (
                    row["device_type"] is not None and device_type is None,
                    "device_type is none of computer, phone",
                ),
                (row["ipv4"] is not None and ipv4 is None, "ipv4 is not a private IPv4 address"),
            ),
        )
    return account


def _connections(tables: Tables, earliest: int, latest: int) -> tuple[_Events, Counter[str], int]:
    """The accepted-worthy events, the reasons of the rejected, and the number of all rows."""
    whole = _whole(tables, CONNECTIONS)
    rank = _ranks(whole["event_type"])
    is_usage = rank == USAGE
    asked, received = _speeds(whole["asked_mbps"]), _speeds(whole["received_mbps"])
    at, no_time = _ints(whole["event_at"])
    num_bytes, no_bytes = _ints(whole["bytes"])
    names = ("event_id", "session_id", "device_id", "server_id")
    ids = {name: _ints(whole[name]) for name in names}
    faults = [
        *(ids[name][1] for name in names),
        rank == _NONE,
        no_time,
        at > latest,
        at < earliest,
        is_usage & (asked == _NONE),
        is_usage & (received == _NONE),
        is_usage & (no_bytes | (num_bytes < 0) | (num_bytes > MAX_BYTES)),
    ]
    reason = np.select(faults, range(len(faults)), default=_NONE)
    found = zip(*np.unique(reason[reason != _NONE], return_counts=True), strict=True)
    rejects = Counter({CONNECTION_REJECTS[int(index)]: int(count) for index, count in found})
    events = _Events(
        server=ids["server_id"][0],
        session=ids["session_id"][0],
        device=ids["device_id"][0],
        at=at,
        rank=rank,
        received_bps=np.where(is_usage, received, _NONE),
        asked_bps=np.where(is_usage, asked, _NONE),
        num_bytes=np.where(is_usage, num_bytes, _NONE),
        number=ids["event_id"][0],
    )
    return events.picked(reason == _NONE), rejects, len(reason)


def _ints(column: pa.ChunkedArray) -> tuple[Ints, Bools]:
    """Values, 0 where there is none, and where there is none."""
    return column.fill_null(0).to_numpy(), column.is_null().to_numpy()


def _ranks(event_types: pa.ChunkedArray) -> Ints:
    encoded = pc.dictionary_encode(event_types.combine_chunks())
    words = [_word(text) for text in encoded.dictionary.to_pylist()]
    ranks = np.array(
        [EVENT_TYPES.index(word) if word in EVENT_TYPES else _NONE for word in [*words, None]],
        np.int64,
    )
    found: Ints = ranks[encoded.indices.fill_null(len(words)).to_numpy()]
    return found


def _speeds(mbps: pa.ChunkedArray) -> Ints:
    values = mbps.fill_null(math.nan).to_numpy()
    speeds = np.full(len(values), _NONE, np.int64)
    is_speed = (values >= 0) & (values <= MAX_SAMPLE_MBPS)
    distinct, inverse = np.unique(values[is_speed], return_inverse=True)
    speeds[is_speed] = np.array([bits_per_second(x) for x in distinct.tolist()], np.int64)[inverse]
    return speeds


# --- identity


def _distinct(events: _Events) -> _Events:
    """Distinct rows in session order: server, session, device, time, rank, measures, number."""
    ordered = events.picked(np.lexsort(events.columns()[::-1]))
    return ordered.picked(_changes(*ordered.columns()))


def _changes(*columns: Ints | Bools) -> Bools:
    """Where a row differs from the one before it in any column; the first row does."""
    changed = np.ones(len(columns[0]), np.bool_)
    changed[1:] = False
    for column in columns:
        changed[1:] |= column[1:] != column[:-1]
    return changed


def _winners(events: _Events) -> Bools:
    """Of events in session order that differ in measures only, the one with the greatest."""
    moment = np.cumsum(_changes(*events.columns()[:5]))
    shared = np.flatnonzero(np.bincount(moment)[moment] > 1)
    rivals, moment = events.picked(shared), moment[shared]
    measures = (rivals.num_bytes, rivals.asked_bps, rivals.received_bps)
    order = np.lexsort((*measures, rivals.number, moment))
    is_last = np.ones(len(order), np.bool_)
    is_last[:-1] = _changes(moment[order], rivals.number[order])[1:]
    wins = np.ones(len(events), np.bool_)
    wins[shared[order[~is_last]]] = False
    return wins


# --- versions


class _History(Generic[Payload]):
    """The versions of many things; a version is in force to the next, the first also before."""

    def __init__(self, versions: Mapping[tuple[int, int], Payload]) -> None:
        """Keys are thing and moment."""
        ordered = sorted(versions)
        self.of: dict[int, list[tuple[int, Payload]]] = defaultdict(list)
        for thing, moment in ordered:
            self.of[thing].append((moment, versions[thing, moment]))
        self.payloads = [versions[key] for key in ordered]
        things = np.array([thing for thing, _ in ordered], np.int64)
        moments = np.array([moment for _, moment in ordered], np.int64)
        self._things, self._firsts = np.unique(things, return_index=True)
        self._moments = np.unique(moments)
        self._keys = self._key(
            np.searchsorted(self._things, things), np.searchsorted(self._moments, moments)
        )

    def _key(self, thing: Ints, moment: Ints) -> Ints:
        return thing * (len(self._moments) + 1) + moment + 1

    def index(self, things: Ints, at: Ints) -> Ints:
        """Which payload is in force; -1 for a thing without a version."""
        if not self.payloads:
            return np.full(len(things), -1, np.int64)
        nearest = np.minimum(np.searchsorted(self._things, things), len(self._things) - 1)
        last = np.searchsorted(self._moments, at, side="right") - 1
        found = np.searchsorted(self._keys, self._key(nearest, last), side="right") - 1
        known = self._things[nearest] == things
        return np.where(known, np.maximum(found, self._firsts[nearest]), -1)

    def at(self, thing: int, moment: int) -> Payload | None:
        versions = self.of.get(thing)
        if not versions:
            return None
        return versions[max(bisect_right(versions, moment, key=lambda v: v[0]) - 1, 0)][1]


def _server_versions(servers: Iterable[_Server]) -> _History[_Server]:
    """Of two at one moment the greater capacity, then the greater location; null is smallest."""
    versions: dict[tuple[int, int], _Server] = {}
    for server in sorted(servers, key=lambda s: (_or_less(s.capacity_bps), _text_key(s.location))):
        versions[server.server, server.valid_from] = server
    return _History(versions)


def _customer_versions(customers: Iterable[_Customer]) -> _History[_Customer]:
    """Of two at one moment a plan before none, the greater, not invalid before invalid."""
    versions: dict[tuple[int, int], _Customer] = {}
    for customer in sorted(
        customers,
        key=lambda c: (_or_less(c.plan_bps), not c.is_plan_invalid, _text_key(c.kind)),
    ):
        versions[customer.customer, customer.valid_from] = customer
    return _History(versions)


def _device_versions(devices: Iterable[_Device]) -> _History[_Device]:
    """Of two at one moment the smaller customer, then type, then address; null is last."""
    versions: dict[tuple[int, int], _Device] = {}
    for device in sorted(
        devices,
        key=lambda d: (
            d.customer,
            d.device_type is None,
            d.device_type or "",
            d.ipv4 is None,
            d.ipv4 or "",
        ),
    ):
        versions.setdefault((device.device, device.registered_at), device)
    return _History(versions)


def _or_less(value: int | None) -> int:
    return _NONE if value is None else value


def _text_key(text: str | None) -> tuple[bool, str]:
    return text is not None, text or ""


def speed_class(plan_bps: int | None, is_invalid: bool) -> str:
    """The class of a plan (T2)."""
    if is_invalid:
        return "invalid"
    if plan_bps is None:
        return "unknown"
    return "low" if plan_bps <= 20 * 10**6 else "medium" if plan_bps <= 100 * 10**6 else "high"


def _known(events: _Events, devices: _History[_Device], plans: _History[_Customer]) -> _Known:
    registration = devices.index(events.device, events.at)
    customer = _look_up(devices.payloads, registration, lambda d: d.customer, 0)
    has_customer = registration >= 0
    version = np.where(has_customer, plans.index(customer, events.at), -1)
    return _Known(
        customer=customer,
        has_customer=has_customer,
        device_type=_look_up(
            devices.payloads,
            registration,
            lambda d: DEVICE_TYPES.index(d.device_type or "unknown"),
            DEVICE_TYPES.index("unknown"),
        ),
        speed_class=_look_up(
            plans.payloads,
            version,
            lambda c: SPEED_CLASSES.index(speed_class(c.plan_bps, c.is_plan_invalid)),
            SPEED_CLASSES.index("unknown"),
        ),
        plan_bps=_look_up(plans.payloads, version, lambda c: _or_less(c.plan_bps), _NONE),
    )


def _look_up(
    payloads: Sequence[Payload], index: Ints, value: Callable[[Payload], int], default: int
) -> Ints:
    """A value of the payload at each index; the default at -1, which is the last place."""
    return np.array([*map(value, payloads), default], np.int64)[index]


# --- sessions


def _sessions(events: _Events, as_of: int) -> _Sessions:
    """Intervals of events in session order, none later than `as_of` (T3, T6)."""
    at, opens = events.at, events.rank != DISCONNECT
    follows = ~_changes(events.server, events.session, events.device)  # the event before it
    follows[1:] &= at[1:] - at[:-1] < SILENCE
    is_followed = np.append(follows[1:], False)
    next_at = np.append(at[1:], 0)
    end = np.where(is_followed, next_at, np.where(as_of - at < SILENCE, _FOREVER, at))
    was_open = follows.copy()
    was_open[1:] &= opens[:-1]
    return _Sessions(events, end[: len(at)], opens, was_open[: len(at)])


class _Calendar:
    """Days of the report's time zone, numbered."""

    def __init__(self, zone: ZoneInfo, first: int, last: int) -> None:
        """Covers the days of two moments and what lies between them, and a week more each side."""
        self.first = _local_date(first, zone) - timedelta(days=7)
        num_days = (_local_date(last, zone) - self.first).days + 9
        days = [self.first + timedelta(days=n) for n in range(num_days)]
        self.starts = np.array(
            [_micros(datetime.combine(day, time(), zone)) for day in days], np.int64
        )

    def day(self, at: Ints) -> Ints:
        return np.searchsorted(self.starts, at, side="right") - 1

    def date(self, day: int) -> date:
        return self.first + timedelta(days=int(day))

    def start(self, day: int) -> int:
        return int(self.starts[day])

    def bounds(self, day: int) -> tuple[int, int]:
        return int(self.starts[day]), int(self.starts[day + 1])


def _local_date(micros: int, zone: ZoneInfo) -> date:
    return (_EPOCH_START + timedelta(microseconds=micros)).astimezone(zone).date()


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH_START) // timedelta(microseconds=1)


def _pieces(sessions: _Sessions, calendar: _Calendar, as_of: int) -> _Pieces:
    """No piece is empty; a sample stands so briefly that it meets one midnight at most."""
    events = sessions.events
    usage = np.flatnonzero(events.rank == USAGE)
    start = events.at[usage]
    stop = np.minimum(np.minimum(sessions.end[usage], start + STANDING), as_of)
    day = calendar.day(start)
    midnight = calendar.starts[day + 1]
    event = np.concatenate((usage, usage))
    micros = np.concatenate((np.minimum(stop, midnight) - start, stop - midnight))
    stands = micros > 0
    return _Pieces(event[stands], np.concatenate((day, day + 1))[stands], micros[stands])


# --- statistics


def hundredfold_percentile(values: Sequence[int], percent: int) -> int:
    """A hundred times the exact percentile of sorted values, interpolated."""
    below, rest = divmod(percent * (len(values) - 1), 100)
    return values[below] * (100 - rest) + (values[below + 1] * rest if rest else 0)


def spark_percentile(values: Sequence[float], share: float) -> float:
    """What Spark's `percentile` yields for sorted values, in its order of floating operations."""
    position = (len(values) - 1) * share
    low, high = math.floor(position), math.ceil(position)
    if low == high or values[low] == values[high]:
        return values[low]
    return (high - position) * values[low] + (position - low) * values[high]


def _groups(*keys: Ints) -> Iterator[tuple[tuple[int, ...], Ints]]:
    """The rows of every combination of keys, in the order of the keys, then of the rows."""
    order = np.lexsort(keys[::-1])
    ordered = [key[order] for key in keys]
    starts = np.flatnonzero(_changes(*ordered)) if len(order) else order
    for start, end in pairwise([*starts.tolist(), len(order)]):
        yield tuple(int(key[start]) for key in ordered), order[start:end]


def _total(values: Ints) -> int:
    """An exact sum, however large."""
    return sum(values.tolist())


# --- server_load


@dataclass(frozen=True)
class _Open:
    """How many distinct devices are open on a server from each moment on."""

    moments: list[int]
    counts: list[int]

    def at(self, moment: int) -> int:
        index = bisect_right(self.moments, moment) - 1
        return self.counts[index] if index >= 0 else 0

    def peak(self, start: int, end: int) -> int:
        """The greatest number at any moment of [start, end)."""
        changes = slice(bisect_right(self.moments, start), bisect_left(self.moments, end))
        return max([self.at(start), *self.counts[changes]])


def _open_devices(device: Ints, start: Ints, end: Ints) -> _Open:
    """From intervals of devices, which may overlap; empty ones count for nothing."""
    deltas: Counter[int] = Counter()
    open_until: dict[int, int] = {}
    order = np.lexsort((start, device))
    columns = (column[order].tolist() for column in (device, start, end))
    for thing, since, until in zip(*columns, strict=True):
        begins = max(since, open_until.get(thing, since))  # counted already up to there
        if begins < until:
            deltas[begins] += 1
            deltas[until] -= 1
            open_until[thing] = until
    moments = sorted(deltas)
    counts = np.cumsum([deltas[moment] for moment in moments])
    return _Open(moments, counts.tolist())


def _used(start: Ints, end: Ints, bps: Ints, last_instant: int) -> dict[int, list[int]]:
    """By number of window, the bits per second used at its 60 instants; others use none (T4)."""
    first = -(-start // STEP)
    until = np.minimum(-(-end // STEP), last_instant + 1)
    stands = first < until
    first, until, bps = first[stands], until[stands], bps[stands]
    # A sample stands for a minute at most, so in two windows at most.
    boundary = (first // INSTANTS + 1) * INSTANTS
    crosses = until > boundary
    first = np.concatenate((first, boundary[crosses]))
    until = np.concatenate((np.minimum(until, boundary), until[crosses]))
    bps = np.concatenate((bps, bps[crosses]))
    windows, row = np.unique(first // INSTANTS, return_inverse=True)
    whole = np.int64 if bps.sum(dtype=np.float64) < 2**62 else object
    changes = np.zeros((len(windows), INSTANTS + 1), whole)
    np.add.at(changes, (row, first - windows[row] * INSTANTS), bps.astype(whole))
    np.subtract.at(changes, (row, until - windows[row] * INSTANTS), bps.astype(whole))
    used = np.cumsum(changes, axis=1)[:, :INSTANTS]
    return dict(zip(windows.tolist(), used.tolist(), strict=True))


def _server_load(sessions: _Sessions, servers: _History[_Server], as_of: int) -> list[Row]:
    events, end, opens = sessions.events, sessions.end, sessions.opens
    # A session's intervals from one event to the next are one interval from connect to end.
    goes_on = opens & sessions.was_open
    is_last = opens & ~np.append(goes_on[1:], False)
    run_start, run_end = events.at[opens & ~goes_on], end[is_last]
    run_server, run_device = events.server[is_last], events.device[is_last]
    rows: list[Row] = []
    for (server,), of_server in _groups(events.server):
        of_runs = run_server == server
        open_devices = _open_devices(run_device[of_runs], run_start[of_runs], run_end[of_runs])
        samples = of_server[events.rank[of_server] == USAGE]
        start = events.at[samples]
        used = _used(
            start,
            np.minimum(end[samples], start + STANDING),
            events.received_bps[samples],
            as_of // STEP,
        )
        latest: dict[int, int] = {}
        for at in events.at[of_server].tolist():  # in order of sessions
            latest[at // WINDOW] = max(at, latest.get(at // WINDOW, at))
        numbers = set(latest)
        runs = zip(run_start[of_runs].tolist(), run_end[of_runs].tolist(), strict=True)
        for since, until in runs:
            numbers.update(range(since // WINDOW, (min(until, as_of + 1) - 1) // WINDOW + 1))
        for number in sorted(numbers):  # T9: the others have no row
            start_at = number * WINDOW
            end_at = min(start_at + WINDOW, as_of + 1)
            num_instants = min((as_of - start_at) // STEP + 1, INSTANTS)
            load = _load(
                used.get(number, [0] * INSTANTS)[:num_instants],
                partial(_version_at_instant, servers, server, start_at),
            )
            rows.append(
                {
                    "server_id": server,
                    "location": load["location"],
                    "window_start": _text(start_at),
                    "devices_connected": open_devices.at(end_at - 1),
                    "devices_peak": open_devices.peak(start_at, end_at),
                    **{name: value for name, value in load.items() if name != "location"},
                    "last_event_at": _text(latest[number]) if number in latest else None,
                }
            )
    return rows


def _version_at_instant(
    servers: _History[_Server], server: int, window_start: int, instant: int
) -> _Server | None:
    return servers.at(server, window_start + instant * STEP)


def _load(
    used: list[int],
    version_at: Callable[[int], _Server | None],
) -> Row:
    """The figures of one window, against the capacity that each instant had (T7)."""
    first, last = version_at(0), version_at(len(used) - 1)
    is_one = first == last and first is not None
    versions = [last if is_one else version_at(n) for n in range(len(used))]
    capacities = [version.capacity_bps if version else None for version in versions]
    fault = "unknown" if None in capacities else "zero" if 0 in capacities else None
    p95 = hundredfold_percentile(sorted(used), 95)
    capacity = last.capacity_bps if last else None
    usage_rate = is_overloaded = None
    if fault is None and capacity is not None:
        shares = zip(used, capacities, strict=True)
        scaled = sum(_at_17_decimals(bps, of_instant) for bps, of_instant in shares if of_instant)
        usage_rate = scaled / 10**17 / len(used)
        is_overloaded = p95 * 10 >= capacity * 100 * 8
    return {
        "location": last.location if last else None,
        "bandwidth_used_mbps": float(sum(used)) / (len(used) * 1e6),
        "bandwidth_p95_mbps": p95 / 1e8,
        "capacity_mbps": None if capacity is None else capacity / 1e6,
        "usage_rate": usage_rate,
        "capacity_fault": fault,
        "is_overloaded": is_overloaded,
    }


def _at_17_decimals(dividend: int, divisor: int) -> int:
    """The quotient, rounded half up, in units of 1e-17."""
    return (2 * dividend * 10**17 + divisor) // (2 * divisor)


# --- server_status


def server_status(
    tables: Tables,
    *,
    ingested_at: datetime,
    until: datetime | None = None,
    earliest: datetime = EARLIEST,
) -> list[Row]:
    """Works out what the live view of the servers must hold.

    Args:
        tables: As `answers` takes them.
        ingested_at: As `answers` takes it.
        until: The end of the last closed load: the view is as of the latest accepted event that is
            not later; None: of the latest.
        earliest: As `answers` takes it.

    Returns:
        A row for each server that is known or has an accepted event, sorted, as JSON has them.
    """
    believed_from = _micros(earliest)
    servers = _server_versions(_servers(tables, believed_from).accepted)
    latest = _micros(ingested_at) + MAX_CLOCK_SKEW
    accepted = _distinct(_connections(tables, believed_from, latest)[0])
    seen = accepted.at[accepted.at <= (_micros(until) if until else _FOREVER)]
    as_of = int(seen.max()) if len(seen) else _BEGINNING_OF_TIME  # when first versions hold
    events = accepted.picked(_winners(accepted) & (accepted.at <= as_of))
    sessions = _sessions(events, as_of)
    is_open = sessions.opens & (sessions.end == _FOREVER)
    stands = is_open & (events.rank == USAGE) & (as_of - events.at < STANDING)
    last_event = {
        server: int(accepted.at[mine].max()) for (server,), mine in _groups(accepted.server)
    }
    rows: list[Row] = []
    for server in sorted({*servers.of, *last_event}):
        of_server = events.server == server
        used = _total(events.received_bps[of_server & stands])
        version = servers.at(server, as_of)
        capacity = version.capacity_bps if version else None
        rows.append(
            {
                "server_id": server,
                "location": version.location if version else None,
                "as_of": _text(as_of) if len(seen) else None,
                "devices_connected": len(np.unique(events.device[of_server & is_open])),
                "bandwidth_used_mbps": float(used) / 1e6,
                "capacity_mbps": None if capacity is None else capacity / 1e6,
                "usage_rate": float(used) / capacity if capacity else None,
                "is_overloaded": used * 10 >= capacity * 8 if capacity else None,
                "last_event_at": _text(last_event[server]) if server in last_event else None,
            }
        )
    return rows


# --- server_upgrade_candidates

_NOTHING_USED: Final[Row] = {
    "usage_rate": 0.0,
    "bandwidth_used_mbps": 0.0,
    "is_overloaded": False,
}


def _upgrade_candidates(
    load: Sequence[Row],
    events: _Events,
    servers: _History[_Server],
    as_of: int,
    zone: ZoneInfo,
) -> list[Row]:
    last = as_of // WINDOW
    first_event: dict[int, int] = {}
    for server, at in zip(events.server.tolist(), events.at.tolist(), strict=True):
        first_event[server] = min(at, first_event.get(server, at))
    row_of = {(row["server_id"], row["window_start"]): row for row in load}
    rows: list[Row] = []
    for server in sorted({*servers.of, *first_event}):
        version = servers.at(server, as_of)
        capacity = (
            None
            if version is None or version.capacity_bps is None
            else (version.capacity_bps / 1e6)
        )
        # Each window from the server's first event on, whether it has a row or not.
        begins = first_event[server] // WINDOW if server in first_event else last + 1
        of_server: list[Row] = []
        for number in range(max(begins, last - UPGRADE_WINDOWS + 1), last + 1):
            if row := row_of.get((server, _text(number * WINDOW))):
                of_server.append(row)
            elif (known := servers.at(server, number * WINDOW)) and known.capacity_bps:
                of_server.append(_NOTHING_USED)
        measured = [window for window in of_server if window["usage_rate"] is not None]
        rates = sorted(window["usage_rate"] for window in measured)
        rate = spark_percentile(rates, 0.95) if rates else None
        reason, recommended = _recommendation(
            capacity, rate, sorted(window["bandwidth_used_mbps"] for window in measured)
        )
        overloaded = [window["window_start"] for window in of_server if window["is_overloaded"]]
        rows.append(
            {
                "server_id": server,
                "location": version.location if version else None,
                "capacity_mbps": capacity,
                "usage_rate_p95": rate,
                "overloaded_windows": len(overloaded),
                "days_overloaded": len(
                    {datetime.fromisoformat(at).astimezone(zone).date() for at in overloaded}
                ),
                "recommended_capacity_mbps": recommended,
                "reason": reason,
            }
        )
    return rows


def _recommendation(
    capacity: float | None, rate: float | None, used: Sequence[float]
) -> tuple[str, float | None]:
    faults = (
        (capacity is None, "the capacity is unknown"),
        (capacity == 0, "the capacity is zero"),
        (rate is None, "no traffic"),
        (rate is not None and rate < 0.8, "fine"),
    )
    if reason := _first(*faults):
        return reason, None
    needed = spark_percentile(used, 0.95)
    step = next((float(step) for step in CAPACITY_STEPS_MBPS if needed < 0.8 * step), None)
    if step is None:
        return "overloaded beyond the largest step", None
    if capacity is not None and step <= capacity:
        return "the capacity has been raised", None
    return "overloaded", step


# --- the other marts


def _short_time(events: _Events, known: _Known, pieces: _Pieces) -> tuple[Ints, Ints]:
    """Of each piece, for how long something was asked for, and for how long it was short (T8)."""
    asked, received = events.asked_bps[pieces.event], events.received_bps[pieces.event]
    plan = known.plan_bps[pieces.event]  # of the sample's time
    sold = np.where(plan == _NONE, asked, np.minimum(asked, plan))
    wants = asked > 0
    is_short = wants & (received * 10 < 8 * sold)
    return np.where(wants, pieces.micros, 0), np.where(is_short, pieces.micros, 0)


def _heavy_users(events: _Events, known: _Known, pieces: _Pieces, calendar: _Calendar) -> list[Row]:
    usage = np.flatnonzero(events.rank == USAGE)
    wanting, short = _short_time(events, known, pieces)
    of_customers = np.flatnonzero(known.has_customer[pieces.event])
    pieces_of = {
        key: of_customers[mine]
        for key, mine in _groups(
            events.server[pieces.event[of_customers]], pieces.day[of_customers]
        )
    }
    rows: list[Row] = []
    server_days = _groups(events.server[usage], calendar.day(events.at[usage]))
    for (server, day), of_day in server_days:
        samples = usage[of_day]
        total = _total(events.num_bytes[samples])
        registered = samples[known.has_customer[samples]]
        users = [
            (customer, registered[mine])
            for (customer,), mine in _groups(known.customer[registered])
        ]
        sums = [_total(events.num_bytes[mine]) for _, mine in users]
        median = spark_percentile(sorted(map(float, sums)), 0.5) if sums else 0.0
        for (customer, mine), num_bytes in zip(users, sums, strict=True):
            share = float(num_bytes) / float(total) if total else None
            times_median = num_bytes / median if median else None
            is_heavy = (times_median or 0) >= 5 or (share or 0) >= 0.2
            limit = None
            if is_heavy:
                mean = float(_total(events.received_bps[mine])) / len(mine) / 1e6
                bounds = [5 * median] if median > 0 else []
                bounds += [0.2 * total] if total > 0 else []
                limit = mean * (min(bounds) / num_bytes)
            on_server = pieces_of.get((server, day), of_customers[:0])
            others = on_server[known.customer[pieces.event[on_server]] != customer]
            others_wanting = _total(wanting[others])
            rows.append(
                {
                    "customer_id": customer,
                    "date": calendar.date(day).isoformat(),
                    "server_id": server,
                    "gigabytes": num_bytes / 1e9,
                    "share_of_server": share,
                    "times_median": times_median,
                    "is_heavy": is_heavy,
                    "suggested_limit_mbps": limit,
                    "others_share_of_time_short": (
                        _total(short[others]) / others_wanting if others_wanting else None
                    ),
                }
            )
    return sorted(rows, key=lambda row: (row["customer_id"], row["date"], row["server_id"]))


def _subscribed_vs_received(
    events: _Events,
    known: _Known,
    pieces: _Pieces,
    plans: _History[_Customer],
    calendar: _Calendar,
) -> list[Row]:
    wanting, short = _short_time(events, known, pieces)
    of_customer = np.flatnonzero(known.has_customer[pieces.event])
    event = pieces.event[of_customer]
    rows: list[Row] = []
    days = _groups(known.customer[event], pieces.day[of_customer])
    for (customer, day), of_day in days:
        mine = of_customer[of_day]
        wanted = mine[wanting[mine] > 0]
        speeds = sorted(events.received_bps[pieces.event[wanted]].tolist())
        share = _total(short[wanted]) / _total(wanting[wanted]) if speeds else None
        plan_of_day = _longest_plan(plans.of.get(customer, []), *calendar.bounds(day))
        rows.append(
            {
                "customer_id": customer,
                "date": calendar.date(day).isoformat(),
                "plan_mbps": None if plan_of_day is None else plan_of_day / 1e6,
                "received_p50_mbps": hundredfold_percentile(speeds, 50) / 1e8 if speeds else None,
                "received_p95_mbps": hundredfold_percentile(speeds, 95) / 1e8 if speeds else None,
                "share_of_time_short": share,
                "gets_what_was_sold": (
                    None if share is None or plan_of_day is None else share <= 0.05
                ),
            }
        )
    return rows


def _longest_plan(versions: Sequence[tuple[int, _Customer]], start: int, end: int) -> int | None:
    """The plan in force longest in [start, end); of two the greater, none before any."""
    if not versions:
        return None
    froms = [start, *(moment for moment, _ in versions[1:])]
    untils = [*froms[1:], end]
    lasting: dict[int | None, int] = defaultdict(int)
    for since, until, (_, customer) in zip(froms, untils, versions, strict=True):
        lasting[customer.plan_bps] += max(min(until, end) - max(since, start), 0)
    return max(lasting, key=lambda plan: (lasting[plan], _or_less(plan)))


def _bandwidth_summary(
    events: _Events, known: _Known, pieces: _Pieces, calendar: _Calendar, as_of: int
) -> list[Row]:
    day = calendar.day(events.at)
    volumes: dict[tuple[int, int, int], int] = defaultdict(int)
    devices: dict[tuple[int, int, int], dict[int, int]] = defaultdict(dict)
    kinds = (known.device_type, known.speed_class)
    for (of_day, device_type, of_class, rank), mine in _groups(day, *kinds, events.rank):
        devices[of_day, device_type, of_class][rank] = len(np.unique(events.device[mine]))
    piece_kinds = (kind[pieces.event] for kind in kinds)
    for (of_day, device_type, of_class), mine in _groups(pieces.day, *piece_kinds):
        speeds = events.received_bps[pieces.event[mine]].tolist()
        volumes[of_day, device_type, of_class] = sum(map(mul, speeds, pieces.micros[mine].tolist()))
    totals: dict[int, int] = defaultdict(int)
    for (of_day, _, _), volume in volumes.items():
        totals[of_day] += volume
    high_speed = _high_speed_shares(events, known, day)
    rows: list[Row] = []
    for key in sorted(
        {*volumes, *devices}, key=lambda k: (DEVICE_TYPES[k[1]], SPEED_CLASSES[k[2]], k[0])
    ):
        of_day, device_type, of_class = key
        start, end = calendar.bounds(of_day)
        elapsed = min(end, as_of) - start
        volume, total = volumes.get(key, 0), totals.get(of_day, 0)
        rows.append(
            {
                "device_type": DEVICE_TYPES[device_type],
                "speed_class": SPEED_CLASSES[of_class],
                "date": calendar.date(of_day).isoformat(),
                "devices_connected": devices.get(key, {}).get(CONNECT, 0),
                "devices_disconnected": devices.get(key, {}).get(DISCONNECT, 0),
                "bandwidth_mbps": float(volume) / float(elapsed) / 1e6 if elapsed else None,
                "share_of_bandwidth": float(volume) / float(total) if total else None,
                "share_of_high_speed_customers": high_speed.get(of_day),
            }
        )
    return rows


def _high_speed_shares(events: _Events, known: _Known, day: Ints) -> dict[int, float]:
    """By day, of the customers who connected or used anything, those who did so in class high."""
    active = known.has_customer & (events.rank != DISCONNECT)
    is_high = known.speed_class == SPEED_CLASSES.index("high")
    is_high, customer = is_high[active], known.customer[active]
    return {
        of_day: len(np.unique(customer[mine[is_high[mine]]])) / len(np.unique(customer[mine]))
        for (of_day,), mine in _groups(day[active])
    }


# --- server_weekly

_CHANGING: Final = ("devices_peak", "devices", "usage_rate_p95", "share_of_time_short")


def _server_weekly(
    *,
    load: Sequence[Row],
    sessions: _Sessions,
    known: _Known,
    pieces: _Pieces,
    servers: _History[_Server],
    calendar: _Calendar,
    as_of: int,
) -> list[Row]:
    """A week is known by the number of its Monday among the calendar's days."""
    monday_of = [day - calendar.date(day).weekday() for day in range(len(calendar.starts))]
    of_week: dict[tuple[int, int], dict[int, Row]] = defaultdict(dict)
    first_window: dict[int, int] = {}
    for row in load:
        start = _micros(datetime.fromisoformat(row["window_start"]))
        server, number = row["server_id"], start // WINDOW
        first_window[server] = min(number, first_window.get(server, number))
        of_week[server, monday_of[int(calendar.day(np.array(start)))]][number] = row
    devices = _devices_of_weeks(sessions, calendar, monday_of, as_of)
    shares = _shares_of_weeks(sessions.events, known, pieces, monday_of)
    figures: dict[tuple[int, int], Row] = {}
    for (server, monday), windows in sorted(of_week.items()):
        start, end = calendar.start(monday), calendar.start(monday + 7)
        first, last = max(-(-start // WINDOW), first_window[server]), min(end - 1, as_of) // WINDOW
        rates: list[float] = []
        for number in range(first, last + 1):
            if number in windows:
                rate = windows[number]["usage_rate"]
                rates += [] if rate is None else [rate]
            elif (version := servers.at(server, number * WINDOW)) and version.capacity_bps:
                rates.append(0.0)
        figures[server, monday] = {
            "devices_peak": max(window["devices_peak"] for window in windows.values()),
            "devices": len(devices[server, monday]),
            "usage_rate_p95": spark_percentile(sorted(rates), 0.95) if rates else None,
            "share_of_time_short": shares.get((server, monday)),
        }
    rows: list[Row] = []
    for (server, monday), of_this in figures.items():
        before = figures.get((server, monday - 7), {})
        row = {"server_id": server, "week_start": calendar.date(monday).isoformat(), **of_this}
        for name in _CHANGING:
            here, there = of_this[name], before.get(name)
            row[f"{name}_change"] = None if here is None or there is None else here - there
        rows.append(row)
    return rows


def _devices_of_weeks(
    sessions: _Sessions, calendar: _Calendar, monday_of: Sequence[int], as_of: int
) -> dict[tuple[int, int], set[int]]:
    """By server and week, the devices with an event or an open session in it."""
    events = sessions.events
    until = np.where(sessions.opens, np.minimum(sessions.end, as_of), events.at)
    columns = (events.server, events.device, calendar.day(events.at), calendar.day(until))
    found: dict[tuple[int, int], set[int]] = defaultdict(set)
    for server, device, first, last in zip(*(column.tolist() for column in columns), strict=True):
        for day in range(first, last + 1):
            found[server, monday_of[day]].add(device)
    return found


def _shares_of_weeks(
    events: _Events, known: _Known, pieces: _Pieces, monday_of: Sequence[int]
) -> dict[tuple[int, int], float]:
    """By server and week, of the time in which customers asked for something the short share."""
    wanting, short = _short_time(events, known, pieces)
    wanted = np.flatnonzero(known.has_customer[pieces.event] & (wanting > 0))
    weeks = np.array(monday_of, np.int64)[pieces.day[wanted]]
    return {
        (server, monday): _total(short[wanted[mine]]) / _total(wanting[wanted[mine]])
        for (server, monday), mine in _groups(events.server[pieces.event[wanted]], weeks)
    }


# --- all of it


def _text(micros: int) -> str:
    return (_EPOCH_START + timedelta(microseconds=micros)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def answers(
    tables: Tables,
    *,
    ingested_at: datetime,
    as_of: datetime | None = None,
    timezone: str = "UTC",
    earliest: datetime = EARLIEST,
) -> dict[str, Any]:
    """Works out what the marts must hold.

    Args:
        tables: The delivered rows by full table name, in any order; tables may be missing.
        ingested_at: When they were taken in; times more than an hour after it are rejected.
        as_of: The time of the report; None: of the latest accepted connection event.
        timezone: The IANA zone in which dates are taken.
        earliest: The first time that is believed, of events and of versions alike.

    Returns:
        The rows of each of `MARTS`, sorted by their key, as JSON has them; `entity_counts` by
        entity; `table_counts` by full table name; `reject_reasons` by entity and reason (of rows
        and of fields); `unmatched` by reason; and `as_of`. Without `as_of` and without any event
        there is no report: the marts are empty.
    """
    zone = ZoneInfo(timezone)
    latest = _micros(ingested_at) + MAX_CLOCK_SKEW
    believed_from = _micros(earliest)
    servers, customers = _servers(tables, believed_from), _customers(tables, believed_from)
    devices = _devices(tables, believed_from, latest)
    worthy, rejects, events_in = _connections(tables, believed_from, latest)
    num_worthy = len(worthy)
    accepted = _distinct(worthy)
    del worthy
    wins = _winners(accepted)
    entity_counts = {
        "servers": servers.counts(),
        "customers": customers.counts(),
        "devices": devices.counts(),
        "connections": _counts(
            events_in=events_in,
            worthy=num_worthy,
            accepted=len(accepted),
            row_rejects=rejects.total(),
            conflicts=int(np.count_nonzero(~wins)),
        ),
    }
    report_at = _micros(as_of) if as_of else int(accepted.at.max()) if len(accepted) else None
    events = accepted.picked(wins & (accepted.at <= (report_at or 0)))
    del accepted

    marts: dict[str, list[Row]] = {mart: [] for mart in MARTS}
    unmatched = dict.fromkeys(UNMATCHED, 0)
    if report_at is not None:
        server_versions = _server_versions(servers.accepted)
        plans = _customer_versions(customers.accepted)
        registrations = _device_versions(devices.accepted)
        sessions = _sessions(events, report_at)
        known = _known(events, registrations, plans)
        first = int(events.at.min()) if len(events) else report_at
        calendar = _Calendar(zone, first, report_at)
        pieces = _pieces(sessions, calendar, report_at)
        load = _server_load(sessions, server_versions, report_at)
        marts = {
            "server_load": load,
            "server_upgrade_candidates": _upgrade_candidates(
                load, events, server_versions, report_at, zone
            ),
            "heavy_users": _heavy_users(events, known, pieces, calendar),
            "subscribed_vs_received": _subscribed_vs_received(
                events, known, pieces, plans, calendar
            ),
            "bandwidth_summary": _bandwidth_summary(events, known, pieces, calendar, report_at),
            "server_weekly": _server_weekly(
                load=load,
                sessions=sessions,
                known=known,
                pieces=pieces,
                servers=server_versions,
                calendar=calendar,
                as_of=report_at,
            ),
        }
        lonely = ~sessions.was_open
        found = (
            ~known.has_customer,
            server_versions.index(events.server, events.at) < 0,
            lonely & (events.rank == DISCONNECT),
            lonely & (events.rank == USAGE),
        )
        unmatched = {
            reason: int(np.count_nonzero(of_reason))
            for reason, of_reason in zip(UNMATCHED, found, strict=True)
        }
    return {
        **marts,
        "entity_counts": entity_counts,
        "table_counts": {
            f"telecom.{entity}": {"events_in": counts["events_in"]}
            for entity, counts in entity_counts.items()
        },
        "reject_reasons": {
            "servers": dict(servers.row_rejects + servers.field_rejects),
            "customers": dict(customers.row_rejects + customers.field_rejects),
            "devices": dict(devices.row_rejects + devices.field_rejects),
            "connections": dict(rejects),
        },
        "unmatched": unmatched,
        "as_of": None if report_at is None else _text(report_at),
    }
