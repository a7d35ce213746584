"""What the wearables marts must hold for given deliveries, worked out apart from Spark and SQL.

    delivered files, pulls --read_deliveries--> Deliveries --answers--> Answers

Times are whole microseconds since 1970, sums are integers: nothing depends on the order of arrival.
The cases C1 to C31 that the comments name are told in `tests/unit/test_wearables_answers.py`.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import math
import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq

from generators.wearables.tables import (
    CSV_COLUMNS,
    GYM_LOGINS,
    KAFKA_MULTIPLEX,
    REGISTERED_USERS,
)

TABLE_ENTITIES = {
    REGISTERED_USERS: ("registrations",),
    GYM_LOGINS: ("gym_logins",),
    KAFKA_MULTIPLEX: ("profile_changes", "workout_events", "gym_events", "heart_rates", "unknown"),
}
TOPIC_ENTITIES = {
    "user_info": "profile_changes",
    "workout": "workout_events",
    "gym": "gym_events",
    "bpm": "heart_rates",
}
ATTRIBUTES = ("dob", "sex", "gender", "first_name", "last_name")
ADDRESS_ATTRIBUTES = ("street_address", "city", "state", "zip")
ENVELOPE_FIELDS = ("key", "value", "topic", "partition", "offset", "timestamp")

SECOND = 1_000_000
MINUTE = 60 * SECOND
MAX_CLOCK_SKEW = 3600 * SECOND
SAME_VISIT = 12 * 3600 * SECOND
"""So long after a visit's login another is none of its own, and another logout its end."""
FIRST_MILLISECONDS = 10**11
"""From here on an epoch value counts milliseconds; as seconds it would be the year 5138."""
END_OF_TIME = 253_402_300_800 * SECOND
"""Midnight after 9999-12-31."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""What is told of an earlier time, a clock told that was never set."""
LONGEST_NUMBER = 40
"""A number or a time of more characters is not looked at."""

Value: TypeAlias = bool | int | float | str | Decimal | date | datetime | None
Row: TypeAlias = dict[str, Value]
CsvRow: TypeAlias = Mapping[str, str] | str
"""The fields of a line, or the whole line where it has a wrong number of them."""
Clock: TypeAlias = Callable[[str | None], int]
"""Reads a time that is believed."""
Session: TypeAlias = tuple[int, int, int]
"""user_id, workout_id, session_id."""
Span: TypeAlias = tuple[int, int]

_SPACES = " \t\n\r\f\v"
# Nothing but these makes a line that does not count.
_BLANK = bytes(range(0x21)).decode()
# A line may be as long as the gate lets in.
csv.field_size_limit(16 * 1024**2)

_EPOCH_START = datetime(1970, 1, 1, tzinfo=UTC)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:?\d\d)?", re.ASCII | re.IGNORECASE
)
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")
_DOB = re.compile(r"(\d\d)/(\d\d)/(\d{4})", re.ASCII)
_KIND_ORDER = {"delete": 0, "update": 1, "new": 2}

Thing = TypeVar("Thing", int, str)
Raw = TypeVar("Raw")
Entity = TypeVar("Entity")


class UnreadableError(ValueError):
    """A delivered value that cannot be read; the row is rejected."""


class Pulled(NamedTuple):
    """A row of a database as a pull saw it.

    Attributes:
        pull: The number of the pull.
        key: The row's primary key.
        is_gone: Whether the database has it no more; then its fields mean nothing.
        row: Its fields.
    """

    pull: int
    key: str
    is_gone: bool
    row: CsvRow


@dataclass(frozen=True)
class Deliveries:
    """Delivered rows as they came.

    Attributes:
        registrations: Lines of `sbit.registered_users`.
        gym_logins: Lines of `sbit.gym_logins`.
        messages: Lines of `sbit.kafka_multiplex`, each the JSON text of one envelope.
        pulled_registrations: What pulls of `sbit.registered_users` saw.
        pulled_gym_logins: What pulls of `sbit.gym_logins` saw.
    """

    registrations: Sequence[CsvRow] = ()
    gym_logins: Sequence[CsvRow] = ()
    messages: Sequence[str] = ()
    pulled_registrations: Sequence[Pulled] = ()
    pulled_gym_logins: Sequence[Pulled] = ()


@dataclass(frozen=True)
class Answers:
    """The rows expected of the marts, each list sorted by its key, and the accounts.

    Attributes:
        workout_bpm_summary: One row per ended workout session.
        workout_bpm_curve: One row per ended workout session and minute with a valid reading.
        gym_summary: One row per gym, mac address and date of login.
        gym_visits: One row per gym, mac address and login.
        workout_sessions: One row per workout session, whatever its status.
        profile_versions: One row per user and instant of change.
        entity_counts: By entity, then by `events_in`, `accepted`, `duplicates`, `row_rejects`
            (events_in is the sum of these three), `field_rejects`, `conflicts`.
        table_counts: The same by full table name.
        unmatched_readings: Accepted readings of devices that nobody ever registered.
        current_users: Users whose last version is not deleted.
    """

    workout_bpm_summary: list[Row]
    workout_bpm_curve: list[Row]
    gym_summary: list[Row]
    gym_visits: list[Row]
    workout_sessions: list[Row]
    profile_versions: list[Row]
    entity_counts: dict[str, dict[str, int]]
    table_counts: dict[str, dict[str, int]]
    unmatched_readings: int
    current_users: int

    def plain(self) -> dict[str, Any]:
        """Returns what JSON has: times as UTC text with microseconds, dates and decimals too."""
        return dict(json.loads(json.dumps(asdict(self), default=_text_of)))


def _text_of(value: object) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)


class _Registration(NamedTuple):
    user: int
    device: int
    mac: str
    at: int


class _Login(NamedTuple):
    gym: int
    mac: str
    login: int
    logout: int | None


class _GymEvent(NamedTuple):
    gym: int
    mac: str
    action: str
    at: int


class _Change(NamedTuple):
    user: int
    at: int
    kind: str
    digest: str
    dob: date | None
    attributes: tuple[str | None, ...]


class _WorkoutEvent(NamedTuple):
    session: Session
    action: str
    at: int


class _Reading(NamedTuple):
    device: int
    at: int
    bpm: float | None


class _Version(NamedTuple):
    valid_from: int
    change: _Change
    is_deleted: bool


class _WorkoutSession(NamedTuple):
    started_at: int | None
    ended_at: int | None
    status: str


class _Visit(NamedTuple):
    gym: int
    mac: str
    login: int
    logout: int | None
    status: str
    user: int | None
    workouts: dict[Session, Span]

    @property
    def spans(self) -> list[Span]:
        """Its time in the gym: one span, or none unless it is closed."""
        if self.logout is None or self.logout < self.login:
            return []
        return [(self.login, self.logout)]


# --- reading what was delivered


def read_deliveries(paths: Mapping[str, Iterable[Path]]) -> Deliveries:
    """Reads delivered files.

    Args:
        paths: Files by full table name: csv or json lines, plain or `.gz`; those of pulls, Parquet,
            by `<source>.<table>.pulled`.

    Raises:
        ValueError: A CSV file's header is not the table's.
        OSError, EOFError: A file cannot be read to its end.
    """
    return read_contents(
        {
            table: [(path.name, path.read_bytes()) for path in table_paths]
            for table, table_paths in paths.items()
        }
    )


def read_contents(files: Mapping[str, Iterable[tuple[str, bytes]]]) -> Deliveries:
    """The same as `read_deliveries`, from names and contents. Equal contents count once a table."""
    lines: dict[str, list[list[str]]] = {table: [] for table in TABLE_ENTITIES}
    pulled: dict[str, list[Pulled]] = {f"{table}.pulled": [] for table in CSV_COLUMNS}
    for table, named in files.items():
        seen: set[str] = set()
        for name, content in named:
            digest = hashlib.sha256(content).hexdigest()
            if digest not in seen:
                seen.add(digest)
                if table in pulled:
                    pulled[table] += _pulled_rows(content)
                else:
                    lines[table].append(_lines(name, content))
    return Deliveries(
        registrations=_csv_rows(REGISTERED_USERS, lines[REGISTERED_USERS]),
        gym_logins=_csv_rows(GYM_LOGINS, lines[GYM_LOGINS]),
        messages=[line for file in lines[KAFKA_MULTIPLEX] for line in file],
        pulled_registrations=pulled[f"{REGISTERED_USERS}.pulled"],
        pulled_gym_logins=pulled[f"{GYM_LOGINS}.pulled"],
    )


def _pulled_rows(content: bytes) -> list[Pulled]:
    return [
        Pulled(
            pull=row["_pull_id"],
            key=row["_pull_key"],
            is_gone=row["_op"] == "delete",
            row={name: text or "" for name, text in row.items() if not name.startswith("_")},
        )
        for row in pq.read_table(io.BytesIO(content)).to_pylist()
    ]


def _lines(name: str, content: bytes) -> list[str]:
    if name.endswith(".gz"):
        content = gzip.decompress(content)
    text = content.decode("utf-8-sig", errors="replace")
    return [line for line in re.split("\r\n|\r|\n", text) if line.strip(_BLANK)]


def _csv_rows(table: str, files: Iterable[list[str]]) -> list[CsvRow]:
    columns = CSV_COLUMNS[table]
    rows: list[CsvRow] = []
    for lines in files:
        if not lines or tuple(next(csv.reader(lines[:1]))) != columns:
            raise ValueError(f"{table}: the header must be {','.join(columns)}; got {lines[:1]}")
        for line in lines[1:]:
            try:  # one that ends within quotes has a part of a value
                fields = next(csv.reader([line], strict=line.count('"') % 2 == 1))
            except csv.Error:
                fields = []
            broken = len(fields) != len(columns)
            rows.append(line if broken else dict(zip(columns, fields, strict=True)))
    return rows


# --- reading values


class _Double(str):
    """A number of which the double counts, not the text."""


def instant(text: str | None, latest: int | None = None, earliest: int = 0) -> int:
    """Reads a time (C17, C18, C30).

    Args:
        text: Epoch seconds, or milliseconds from 1e11 on, or ISO text; no zone means UTC.
        latest: The last microsecond that is believed; None believes every time.
        earliest: The first microsecond that is believed.

    Returns:
        Microseconds since 1970 UTC, rounded half up.

    Raises:
        UnreadableError: The text is no time, is in scientific notation with digits that do not
            reach the second, or is a time before 1970 or `earliest` or after `latest`.
    """
    written = _bounded(text)
    if _NUMBER.fullmatch(written):
        exact = _epoch(written)
    elif match := _ISO.fullmatch(written):
        exact = _iso(*match.groups())
    else:
        raise UnreadableError(f"no time: {written!r}")
    micros = math.floor(exact + Fraction(1, 2))
    is_believed = earliest <= micros and (latest is None or micros <= latest)
    if exact < 0 or micros >= END_OF_TIME or not is_believed:
        raise UnreadableError(f"time out of range: {written!r}")
    return micros


def _bounded(text: str | None) -> str:
    # Python writes all digits of a double that can be a time, however few the text had.
    text = repr(float(text)) if isinstance(text, _Double) else (text or "").strip(_SPACES)
    if len(text) > LONGEST_NUMBER:
        raise UnreadableError("too long")
    return text


def _epoch(number: str) -> Fraction:
    """What a spreadsheet has rounded (`1.79349E+12`) is no time."""
    value = Fraction(int(number) if number.isdigit() else number)
    is_millis = value >= FIRST_MILLISECONDS
    mantissa, _, exponent = number.lower().partition("e")
    digits = len(mantissa.partition(".")[2])
    if digits < int(exponent or 0) - (3 if is_millis else 0):
        raise UnreadableError(f"too few digits: {number}")
    return value * (1000 if is_millis else SECOND)


def _iso(seconds: str, fraction: str | None, zone: str | None) -> Fraction:
    try:
        at = datetime.fromisoformat(seconds.upper() + (zone or "Z").upper())
    except ValueError as error:
        raise UnreadableError(f"no time: {seconds}{zone}") from error
    return (at - _EPOCH_START) // timedelta(seconds=1) * SECOND + Fraction(fraction or 0) * SECOND


def _integer(text: str | None) -> int:
    text = _bounded(text)
    if not _INTEGER.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise UnreadableError(f"no integer: {text!r}")
    return int(text)


def _mac(text: str) -> str:
    mac = text.strip(_SPACES).lower()
    if not _MAC.fullmatch(mac):
        raise UnreadableError(f"no mac address: {text!r}")
    return mac


def _dob(text: str | None) -> date | None:
    match = _DOB.fullmatch(text or "")
    try:
        return date(int(match[3]), int(match[1]), int(match[2])) if match else None
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        text = _bounded(text)
    except UnreadableError:
        return None
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def _no_constant(name: str) -> object:
    raise ValueError(f"not JSON: {name}")


def _number_text(text: str) -> str:
    """A number of a message: its double counts, but `1.67852E+09` has been rounded before."""
    return text if "+" in text else _Double(text)


def _object(text: object, number: Callable[[str], str] = _number_text) -> dict[str, object]:
    """The JSON object that a text is and nothing else, with its numbers as text (C27)."""
    try:
        parsed = (
            json.loads(text, parse_int=str, parse_float=number, parse_constant=_no_constant)
            if isinstance(text, str)
            else text
        )
    except (ValueError, RecursionError) as error:
        raise UnreadableError("no JSON") from error
    if not isinstance(parsed, dict):
        raise UnreadableError("no JSON object")
    return parsed


def _text(holder: Mapping[str, object], name: str) -> str | None:
    """A field as text; None where it is null, absent or no scalar."""
    value = holder.get(name)
    if value is None or isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else json.dumps(value)


def _is_unread(holder: Mapping[str, object], name: str, *, may_be_absent: bool = False) -> bool:
    """Whether a declared scalar is absent or of another shape (C29); a null is neither."""
    if name not in holder:
        return not may_be_absent
    return isinstance(holder[name], dict | list)


def _word(holder: Mapping[str, object], name: str, allowed: Iterable[str]) -> str:
    word = (_text(holder, name) or "").strip(_SPACES).lower()
    if word not in allowed:
        raise UnreadableError(f"no {name}: {word!r}")
    return word


# --- reading rows: each returns the entity and its number of field-level rejects


def _registration(row: CsvRow, clock: Clock) -> tuple[_Registration, int]:
    if isinstance(row, str):
        raise UnreadableError("wrong number of fields")
    registration = _Registration(
        user=_integer(row["user_id"]),
        device=_integer(row["device_id"]),
        mac=_mac(row["mac_address"]),
        at=clock(row["registration_timestamp"]),
    )
    return registration, 0


def _login(row: CsvRow, clock: Clock) -> tuple[_Login, int]:
    if isinstance(row, str):
        raise UnreadableError("wrong number of fields")
    login = _Login(
        gym=_integer(row["gym"]),
        mac=_mac(row["mac_address"]),
        login=clock(row["login"]),
        logout=None,
    )
    if not row["logout"].strip(_SPACES):
        return login, 0
    try:
        return login._replace(logout=clock(row["logout"])), 0
    except UnreadableError:
        return login, 1


def payload_digest(attributes: Iterable[str | None]) -> str:
    """SHA-256 of a profile's canonical payload, in hex: the tie-break of C3."""
    canonical = ",".join("-" if text is None else f"{len(text)}:{text}" for text in attributes)
    return hashlib.sha256(canonical.encode("utf-8", errors="replace")).hexdigest()


def _profile_change(envelope: Mapping[str, object], clock: Clock) -> tuple[_Change, int]:
    if envelope["value"] is None:
        return _tombstone(envelope, clock), 0
    value = _object(envelope["value"])
    told = value.get("address")
    address = told if isinstance(told, dict) else {}
    attributes = (
        *(_text(value, name) for name in ATTRIBUTES),
        *(_text(address, name) for name in ADDRESS_ATTRIBUTES),
    )
    change = _Change(
        user=_integer(_text(value, "user_id")),
        at=clock(_text(value, "timestamp")),
        kind=_word(value, "update_type", _KIND_ORDER),
        digest=payload_digest(attributes),
        dob=_dob(attributes[0]),
        attributes=attributes,
    )
    may_be_absent = change.kind == "delete"
    is_unread = (
        any(_is_unread(value, name, may_be_absent=may_be_absent) for name in ATTRIBUTES)
        or any(_is_unread(address, name, may_be_absent=True) for name in ADDRESS_ATTRIBUTES)
        or not (isinstance(told, dict | None) and (may_be_absent or "address" in value))
        or (attributes[0] is not None and change.dob is None)
    )
    return change, int(is_unread)


def _tombstone(envelope: Mapping[str, object], clock: Clock) -> _Change:
    nothing = (None,) * len(ATTRIBUTES + ADDRESS_ATTRIBUTES)
    return _Change(
        user=_integer(_text(envelope, "key")),
        at=clock(_text(envelope, "timestamp")),
        kind="delete",
        digest=payload_digest(nothing),
        dob=None,
        attributes=nothing,
    )


def _workout_event(envelope: Mapping[str, object], clock: Clock) -> tuple[_WorkoutEvent, int]:
    value = _object(envelope["value"])
    user, workout, session = (
        _integer(_text(value, name)) for name in ("user_id", "workout_id", "session_id")
    )
    action = _word(value, "action", ("start", "stop"))
    return _WorkoutEvent((user, workout, session), action, clock(_text(value, "timestamp"))), 0


def _gym_event(envelope: Mapping[str, object], clock: Clock) -> tuple[_GymEvent, int]:
    value = _object(envelope["value"])
    event = _GymEvent(
        gym=_integer(_text(value, "gym")),
        mac=_mac(_text(value, "mac_address") or ""),
        action=_word(value, "action", ("login", "logout")),
        at=clock(_text(value, "time")),
    )
    return event, 0


def _reading(envelope: Mapping[str, object], clock: Clock) -> tuple[_Reading, int]:
    value = _object(envelope["value"])
    rate = _text(value, "heartrate")
    reading = _Reading(
        device=_integer(_text(value, "device_id")),
        at=clock(_text(value, "time")),
        bpm=_number(rate),
    )
    is_unread = _is_unread(value, "heartrate") or (rate is not None and reading.bpm is None)
    return reading, int(is_unread)


def _sift(
    rows: Iterable[Raw], read: Callable[[Raw, Clock], tuple[Entity, int]], clock: Clock
) -> tuple[list[Entity], Counter[str]]:
    entities: list[Entity] = []
    counts: Counter[str] = Counter()
    for row in rows:
        counts["events_in"] += 1
        try:
            entity, field_rejects = read(row, clock)
        except UnreadableError:
            counts["row_rejects"] += 1
        else:
            entities.append(entity)
            counts["field_rejects"] += field_rejects
    return entities, counts


def _sift_pulls(
    rows: Iterable[Pulled], read: Callable[[CsvRow, Clock], tuple[Entity, int]], clock: Clock
) -> tuple[set[Entity], set[Entity], Counter[str]]:
    """What pulls told at any time, what the last one of each key tells, and the counts.

    A row that is gone or cannot be read tells nothing, nor does its key any more. One that is as
    the pull before saw it is no other event.
    """
    counts: Counter[str] = Counter()
    seen: dict[str, dict[int, Entity | str]] = defaultdict(dict)
    for pulled in rows:
        entities, found = (
            ([], Counter({"events_in": 1})) if pulled.is_gone else _sift([pulled.row], read, clock)
        )
        counts += found
        unread = "gone" if pulled.is_gone else "unreadable"
        seen[pulled.key][pulled.pull] = entities[0] if entities else unread
    ever: set[Entity] = set()
    now: set[Entity] = set()
    for of_key in seen.values():
        states = [state for _, state in sorted(of_key.items())]
        ever.update(state for state in states if not isinstance(state, str))
        now.update(state for state in states[-1:] if not isinstance(state, str))
        counts["accepted"] += sum(
            state not in ("unreadable", before)
            for before, state in zip([None, *states], states, strict=False)
        )
    return ever, now, counts


def _by_entity(
    messages: Iterable[str],
) -> tuple[dict[str, list[dict[str, object]]], Counter[str]]:
    """Envelopes by entity, and the counts of those that are of none (C27 to C29)."""
    found: dict[str, list[dict[str, object]]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for line in messages:
        try:
            envelope = _object(line, _Double)
        except UnreadableError:
            envelope = {}
        entity = TOPIC_ENTITIES.get(str(envelope.get("topic")))
        if entity is None or "value" not in envelope:
            counts["events_in"] += 1
            counts["row_rejects"] += 1
        else:
            found[entity].append(envelope)
            counts["field_rejects"] += any(name not in envelope for name in ENVELOPE_FIELDS)
    return found, counts


# --- working out


def _owners(
    registrations: Iterable[tuple[Thing, int, int]],
) -> dict[Thing, tuple[list[int], list[int]]]:
    """By thing, from when on whose it was. At one instant the smallest user wins."""
    owners: dict[Thing, tuple[list[int], list[int]]] = {}
    for thing, at, user in sorted(registrations):
        times, users = owners.setdefault(thing, ([], []))
        if not times or times[-1] != at:
            times.append(at)
            users.append(user)
    return owners


def _owner(history: tuple[list[int], list[int]] | None, at: int) -> int | None:
    """The owner from the very instant of a registration; before the first, the first (C19)."""
    if history is None:
        return None
    times, users = history
    return users[max(bisect_right(times, at) - 1, 0)]


def _versions(changes: Iterable[_Change]) -> dict[int, list[_Version]]:
    """By user, one version per instant (C3); after a delete only `new` revives (C10)."""
    winners: dict[int, dict[int, _Change]] = defaultdict(dict)
    for change in sorted(changes, key=lambda c: (_KIND_ORDER[c.kind], c.digest)):
        winners[change.user].setdefault(change.at, change)
    versions: dict[int, list[_Version]] = {}
    for user in sorted(winners):
        history = versions[user] = []
        for at, change in sorted(winners[user].items()):
            was_deleted = bool(history) and history[-1].is_deleted
            is_deleted = change.kind == "delete" or (change.kind == "update" and was_deleted)
            history.append(_Version(at, change, is_deleted))
    return versions


def _profile(history: Sequence[_Version], at: int) -> _Change | None:
    """The profile in force; before the first version, the first; None if deleted or unknown."""
    if not history:
        return None
    version = history[max(bisect_right(history, at, key=lambda v: v.valid_from) - 1, 0)]
    return None if version.is_deleted else version.change


def _sessions(events: Iterable[_WorkoutEvent]) -> dict[Session, _WorkoutSession]:
    """Earliest start to latest stop after it (C15)."""
    times: dict[Session, dict[str, list[int]]] = defaultdict(lambda: {"start": [], "stop": []})
    for event in events:
        times[event.session][event.action].append(event.at)
    sessions: dict[Session, _WorkoutSession] = {}
    for session, found in sorted(times.items()):
        start = min(found["start"], default=None)
        stops = [at for at in found["stop"] if start is not None and at > start]
        status = "ended" if stops else "incomplete" if found["stop"] else "open"
        sessions[session] = _WorkoutSession(start, max(stops, default=None), status)
    return sessions


def _readings(
    delivered: Iterable[_Reading], max_bpm: int
) -> tuple[dict[int, list[tuple[int, float | None]]], int]:
    """By device, one reading per instant in time order; and the number of losing values (C3)."""
    values: dict[int, dict[int, set[float | None]]] = defaultdict(lambda: defaultdict(set))
    for reading in delivered:
        values[reading.device][reading.at].add(reading.bpm)

    def rank(bpm: float | None) -> tuple[bool, float]:
        return _is_valid(bpm, max_bpm), -math.inf if bpm is None else bpm

    winners = {
        device: [(at, max(found, key=rank)) for at, found in sorted(instants.items())]
        for device, instants in values.items()
    }
    conflicts = sum(len(found) - 1 for instants in values.values() for found in instants.values())
    return winners, conflicts


def _is_valid(bpm: float | None, max_bpm: int) -> bool:
    return bpm is not None and 0 < bpm <= max_bpm


def _paired(events: Iterable[_GymEvent], logins: Iterable[_Login]) -> list[_Login]:
    """The visits of which an event tells a part, as lines would have told them (C31)."""
    # Of one instant "a logout" sorts before "b login"; the value is whether an event told it.
    told: dict[tuple[int, str], dict[tuple[int, str], bool]] = defaultdict(dict)
    for row in logins:
        of_mac = told[row.gym, row.mac]
        of_mac[row.login, "b login"] = False
        if row.logout is not None and row.logout > row.login:
            of_mac[row.logout, "a logout"] = False
    for event in events:
        name = "b login" if event.action == "login" else "a logout"
        told[event.gym, event.mac][event.at, name] = True
    paired = []
    for (gym, mac), of_mac in told.items():
        visits: list[tuple[_Login, bool]] = []
        for (at, name), is_event in sorted(of_mac.items()):
            last, is_of_event = visits[-1] if visits else (None, False)
            is_near = last is not None and at - last.login <= SAME_VISIT
            if name == "b login":
                if last is not None and last.logout is None and is_near:
                    visits[-1] = last, is_of_event or is_event
                else:
                    visits.append((_Login(gym, mac, at, None), is_event))
            elif last is not None and (last.logout is None or is_near):
                visits[-1] = last._replace(logout=at), is_of_event or is_event
        paired += [visit for visit, is_of_event in visits if is_of_event]
    return paired


def _visits(
    logins: Iterable[_Login],
    owners: Mapping[str, tuple[list[int], list[int]]],
    workouts: Mapping[int, Mapping[Session, Span]],
) -> list[_Visit]:
    """One visit per gym, mac and login, to its latest logout (C6), with the workouts inside."""
    logouts: dict[tuple[int, str, int], list[int]] = defaultdict(list)
    for login in logins:
        logouts[login[:3]].extend([] if login.logout is None else [login.logout])
    visits = []
    for (gym, mac, at), ends in sorted(logouts.items()):
        logout = max(ends, default=None)
        status = "open" if logout is None else "incomplete" if logout < at else "closed"
        user = _owner(owners.get(mac), at)
        visit = _Visit(gym, mac, at, logout, status, user, {})
        of_user = {} if user is None else workouts.get(user, {})
        for session, (start, stop) in of_user.items():
            for entered, left in visit.spans:
                if max(start, entered) < min(stop, left):
                    visit.workouts[session] = max(start, entered), min(stop, left)
        visits.append(visit)
    return visits


def _minutes(spans: Iterable[Span]) -> Decimal:
    """Minutes covered by the spans together, rounded half up to 2 decimals once (C11, C22)."""
    micros, covered_until = 0, 0
    for start, end in sorted(spans):
        micros += max(end - max(start, covered_until), 0)
        covered_until = max(covered_until, end)
    return Decimal((200 * micros + MINUTE) // (2 * MINUTE)).scaleb(-2)


def _mean(rates: Sequence[float]) -> float | None:
    """The exact mean of rates at 15 decimals, made a float once."""
    if not rates:
        return None
    step = Decimal("1e-15")
    scaled = sum(int(Decimal(repr(r)).quantize(step, ROUND_HALF_UP).scaleb(15)) for r in rates)
    return float(Fraction(scaled, 10**15 * len(rates)))


def age_band(born: date | None, on: date) -> str:
    """The band of completed years on a day (C9); a 29 February counts on 1 March otherwise.

    Args:
        born: The date of birth; None if unknown.
        on: The day of the workout.

    Returns:
        `under 18`, `18-25`, ten-year bands to `85-95`, `95+`, or `unknown`.
    """
    if born is None or born > on:
        return "unknown"
    years = on.year - born.year - ((on.month, on.day) < (born.month, born.day))
    bounds = (18, *range(25, 96, 10))
    if years < bounds[0]:
        return "under 18"
    return next((f"{low}-{high}" for low, high in pairwise(bounds) if years < high), "95+")


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH_START) // timedelta(microseconds=1)


def _at(micros: int | None) -> datetime | None:
    return None if micros is None else _EPOCH_START + timedelta(microseconds=micros)


def _date(micros: int, zone: ZoneInfo) -> date:
    return (_EPOCH_START + timedelta(microseconds=micros)).astimezone(zone).date()


# --- the rows


def _worn(
    workouts: Mapping[int, Mapping[Session, Span]],
    owners: Mapping[int, tuple[list[int], list[int]]],
    readings: Mapping[int, list[tuple[int, float | None]]],
) -> dict[Session, list[tuple[int, float | None]]]:
    """By ended session, the readings in it of the devices that its user owned at their times."""
    devices: dict[int, list[int]] = defaultdict(list)
    for device, (_, users) in sorted(owners.items()):
        for user in set(users):
            devices[user].append(device)
    worn: dict[Session, list[tuple[int, float | None]]] = defaultdict(list)
    for user, spans in workouts.items():
        for session, (start, end) in spans.items():
            for device in devices[user]:
                of_device = readings.get(device, [])
                first, last = (bisect_right(of_device, t, key=lambda r: r[0]) for t in (start, end))
                worn[session] += [
                    reading
                    for reading in of_device[first:last]
                    if _owner(owners[device], reading[0]) == user
                ]
    return worn


def _valid(readings: Iterable[tuple[int, float | None]], max_bpm: int) -> list[tuple[int, float]]:
    return [(at, bpm) for at, bpm in readings if bpm is not None and _is_valid(bpm, max_bpm)]


def _summary_rows(
    *,
    workouts: Mapping[int, Mapping[Session, Span]],
    versions: Mapping[int, list[_Version]],
    worn: Mapping[Session, list[tuple[int, float | None]]],
    zone: ZoneInfo,
    max_bpm: int,
) -> list[Row]:
    rows: list[Row] = []
    for user, spans in sorted(workouts.items()):
        for key, (start, end) in sorted(spans.items()):
            _, workout, session = key
            rates = worn.get(key, [])
            valid = [bpm for _, bpm in _valid(rates, max_bpm)]
            profile = _profile(versions.get(user, []), start)
            known = dict(_attributes(profile))
            on = _date(start, zone)
            rows.append(
                {
                    "user_id": user,
                    "date": on,
                    "workout_id": workout,
                    "session_id": session,
                    "age": age_band(profile.dob, on) if profile else None,
                    "sex": known["sex"],
                    "city": known["city"],
                    "state": known["state"],
                    "min_bpm": min(valid, default=None),
                    "avg_bpm": _mean(valid),
                    "max_bpm": max(valid, default=None),
                    "gender": known["gender"],
                    "num_readings": len(valid),
                    "num_invalid": len(rates) - len(valid),
                    "started_at": _at(start),
                    "ended_at": _at(end),
                }
            )
    return rows


def _curve_rows(
    workouts: Mapping[int, Mapping[Session, Span]],
    worn: Mapping[Session, list[tuple[int, float | None]]],
    max_bpm: int,
) -> list[Row]:
    """Minute n of a session is what is more than n - 1 minutes after its start, at most n."""
    rows: list[Row] = []
    for user, spans in sorted(workouts.items()):
        for key, (start, _) in sorted(spans.items()):
            minutes: dict[int, list[float]] = defaultdict(list)
            for at, bpm in _valid(worn.get(key, []), max_bpm):
                minutes[-((start - at) // MINUTE)].append(bpm)
            rows += [
                {
                    "user_id": user,
                    "workout_id": key[1],
                    "session_id": key[2],
                    "minute": minute,
                    "num_readings": len(rates),
                    "min_bpm": min(rates),
                    "avg_bpm": _mean(rates),
                    "max_bpm": max(rates),
                }
                for minute, rates in sorted(minutes.items())
            ]
    return rows


def _attributes(change: _Change | None) -> Row:
    names = ATTRIBUTES + ADDRESS_ATTRIBUTES
    if change is None:
        return dict.fromkeys(names)
    return {**dict(zip(names, change.attributes, strict=True)), "dob": change.dob}


def _visit_rows(visits: Iterable[_Visit], zone: ZoneInfo) -> list[Row]:
    return [
        {
            "gym": visit.gym,
            "mac_address": visit.mac,
            "date": _date(visit.login, zone),
            "login_at": _at(visit.login),
            "logout_at": _at(visit.logout),
            "minutes_in_gym": _minutes(visit.spans) if visit.spans else None,
            "minutes_exercising": _minutes(visit.workouts.values()) if visit.spans else None,
            "user_id": visit.user,
            "status": visit.status,
            "workouts": len(visit.workouts),
        }
        for visit in visits
    ]


def _gym_rows(visits: Iterable[_Visit], zone: ZoneInfo) -> list[Row]:
    days: dict[tuple[int, str, date], list[_Visit]] = defaultdict(list)
    for visit in visits:
        days[visit.gym, visit.mac, _date(visit.login, zone)].append(visit)
    rows: list[Row] = []
    for (gym, mac, on), of_day in sorted(days.items()):
        inside = [span for visit in of_day for span in visit.spans]
        exercising = [span for visit in of_day for span in visit.workouts.values()]
        rows.append(
            {
                "gym": gym,
                "mac_address": mac,
                "date": on,
                "minutes_in_gym": _minutes(inside) if inside else None,
                "minutes_exercising": _minutes(exercising) if inside else None,
                "user_id": max(of_day, key=lambda visit: visit.login).user,
                "visits": len(of_day),
                "open_visits": sum(visit.status == "open" for visit in of_day),
                "workouts": len({session for visit in of_day for session in visit.workouts}),
            }
        )
    return rows


def _session_rows(sessions: Mapping[Session, _WorkoutSession]) -> list[Row]:
    return [
        {
            "user_id": user,
            "workout_id": workout,
            "session_id": session,
            "started_at": _at(found.started_at),
            "ended_at": _at(found.ended_at),
            "status": found.status,
        }
        for (user, workout, session), found in sessions.items()
    ]


def _version_rows(versions: Mapping[int, Sequence[_Version]]) -> list[Row]:
    rows: list[Row] = []
    for user, history in versions.items():
        ends = [version.valid_from for version in history[1:]]
        for version, end in zip(history, [*ends, None], strict=True):
            rows.append(
                {
                    "user_id": user,
                    "valid_from": _at(version.valid_from),
                    "valid_to": _at(end),
                    "is_deleted": version.is_deleted,
                    **_attributes(None if version.is_deleted else version.change),
                }
            )
    return rows


def _account(counts: Counter[str], accepted: int, conflicts: int = 0) -> dict[str, int]:
    return {
        "events_in": counts["events_in"],
        "accepted": accepted,
        "duplicates": counts["events_in"] - counts["row_rejects"] - accepted,
        "row_rejects": counts["row_rejects"],
        "field_rejects": counts["field_rejects"],
        "conflicts": conflicts,
    }


def answers(
    deliveries: Deliveries,
    report_timezone: str = "UTC",
    max_bpm: int = 300,
    now: datetime | None = None,
    earliest: datetime = EARLIEST,
) -> Answers:
    """Works out what the marts must hold.

    Args:
        deliveries: The delivered rows, in any order.
        report_timezone: The IANA zone in which dates and ages are taken.
        max_bpm: The highest valid heart rate, beats a minute.
        now: The time of ingestion; times more than an hour after it are rejected. None: no check.
        earliest: The first time that is believed.
    """
    zone = ZoneInfo(report_timezone)
    clock = partial(
        instant,
        latest=None if now is None else _micros(now) + MAX_CLOCK_SKEW,
        earliest=_micros(earliest),
    )
    envelopes, unknown_counts = _by_entity(deliveries.messages)

    registered, registered_counts = _sift(deliveries.registrations, _registration, clock)
    registered_counts["accepted"] = len(set(registered))
    ever, now_registered, pull_counts = _sift_pulls(
        deliveries.pulled_registrations, _registration, clock
    )
    registered_counts += pull_counts
    registered = [*(row for row in registered if row not in ever), *now_registered]
    logged_in, login_counts = _sift(deliveries.gym_logins, _login, clock)
    login_counts["accepted"] = len(set(logged_in))
    ever_in, now_in, pull_counts = _sift_pulls(deliveries.pulled_gym_logins, _login, clock)
    login_counts += pull_counts
    pulled_visits = {login[:3] for login in ever_in}
    logged_in = [*(login for login in logged_in if login[:3] not in pulled_visits), *now_in]
    changed, change_counts = _sift(envelopes["profile_changes"], _profile_change, clock)
    passed, gym_counts = _sift(envelopes["gym_events"], _gym_event, clock)
    worked_out, workout_counts = _sift(envelopes["workout_events"], _workout_event, clock)
    measured, reading_counts = _sift(envelopes["heart_rates"], _reading, clock)

    device_owners = _owners((r.device, r.at, r.user) for r in registered)
    mac_owners = _owners((r.mac, r.at, r.user) for r in registered)
    versions = _versions(changed)
    sessions = _sessions(worked_out)
    readings, conflicts = _readings(measured, max_bpm)
    workouts: dict[int, dict[Session, Span]] = defaultdict(dict)
    for session, (start, end, _) in sessions.items():
        if start is not None and end is not None:
            workouts[session[0]][session] = (start, end)
    worn = _worn(workouts, device_owners, readings)
    visits = _visits([*logged_in, *_paired(passed, logged_in)], mac_owners, workouts)

    entity_counts = {
        "registrations": _account(registered_counts, registered_counts["accepted"]),
        "gym_logins": _account(login_counts, login_counts["accepted"]),
        "profile_changes": _account(change_counts, len({change[:4] for change in changed})),
        "workout_events": _account(workout_counts, len(set(worked_out))),
        "gym_events": _account(gym_counts, len(set(passed))),
        "heart_rates": _account(
            reading_counts, sum(len(of_device) for of_device in readings.values()), conflicts
        ),
        "unknown": _account(unknown_counts, 0),
    }
    return Answers(
        workout_bpm_summary=_summary_rows(
            workouts=workouts,
            versions=versions,
            worn=worn,
            zone=zone,
            max_bpm=max_bpm,
        ),
        workout_bpm_curve=_curve_rows(workouts, worn, max_bpm),
        gym_summary=_gym_rows(visits, zone),
        gym_visits=_visit_rows(visits, zone),
        workout_sessions=_session_rows(sessions),
        profile_versions=_version_rows(versions),
        entity_counts=entity_counts,
        table_counts={
            table: {
                name: sum(entity_counts[entity][name] for entity in entities)
                for name in entity_counts["unknown"]
            }
            for table, entities in TABLE_ENTITIES.items()
        },
        unmatched_readings=sum(
            len(of_device) for device, of_device in readings.items() if device not in device_owners
        ),
        current_users=sum(not history[-1].is_deleted for history in versions.values()),
    )
