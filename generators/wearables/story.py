"""A story of watches, gyms and workouts, delivered as files.

    story (events in event time) -> cut by delivery time -> files -> inbox/<table>/

Every value hangs on (seed, table, column, row) alone: what is late, doubled or broken shifts no
other value, so the same seed with and without these tells of the same events.
"""

from __future__ import annotations

import gzip
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Final, TypeAlias

from faker import Faker

from generators import check_shares, check_start
from generators.kafka import Message, Send
from generators.wearables.tables import (
    CSV_COLUMNS,
    GYM_LOGINS,
    KAFKA_MULTIPLEX,
    REGISTERED_USERS,
)
from ingestion.home import Home

START: Final = datetime(2026, 3, 2, 6, tzinfo=UTC)
SLICE: Final = 600
"""Seconds of delivery time that one file holds."""
OUTING: Final = 1800
"""Seconds in which a user goes out once: a visit or two, a workout or two, a worn watch."""
PATTERNS: Final = 20
"""Every outing follows one of 20 patterns, so that a story of some size has every oddity below."""
NO_VISIT, SECOND_VISIT, NEVER_LEAVES, LEAVES_BEFORE = (5, 16), (1, 8, 14), (3,), (11,)
NO_WORKOUT, SECOND_WORKOUT = (9, 18), (4, 10, 15)
NEVER_STOPS, STARTS_TWICE, STOPS_BEFORE = (2,), (6,), (12,)
FIRST_USER: Final = 20_000
FIRST_DEVICE: Final = 200_000
GHOST_USER: Final = 19_999
"""Has broken profiles and nothing else."""
FIRST_BIRTHDAY: Final = date(1935, 1, 1)

Span: TypeAlias = tuple[int, int]
"""Seconds of the story, from the first up to, not including, the second."""

BROKEN_VALUES: Final[Mapping[str, Sequence[Mapping[str, object]]]] = {
    "user_info": (
        {"user_id": "abc"},
        {"update_type": "merge"},
        {"timestamp": "soon"},
        {"user_id": GHOST_USER, "dob": "01-05-1964"},
    ),
    "workout": (
        {"user_id": None},
        {"action": "pause"},
        {"session_id": "1.5"},
        {"timestamp": -1},
    ),
    "bpm": (
        {"device_id": "abc"},
        {"device_id": None},
        {"time": "soon"},
        {"heartrate": "abc"},
    ),
}


@dataclass(frozen=True)
class GeneratedFiles:
    """What is delivered.

    Attributes:
        files: By full table name, contents by the path below `inbox/<table>/`.
        refused: `<table>/<path>` of the files among them that the gate must refuse.
    """

    files: Mapping[str, Mapping[str, bytes]]
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Dice:
    seed: int
    table: str

    def unit(self, column: str, row: object) -> float:
        """A number from 0 up to, not including, 1."""
        key = f"{self.seed}/{self.table}/{column}/{row}".encode()
        return (int.from_bytes(blake2b(key, digest_size=8).digest(), "big") >> 11) / 2**53

    def whole(self, column: str, row: object, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.unit(column, row) * (high - low + 1))

    def chance(self, column: str, row: object, share: float) -> bool:
        return share > 0 and self.unit(column, row) < share


@dataclass(frozen=True)
class _Event:
    table: str
    kind: str  # the topic or the table
    row: str
    at: int  # seconds of the story
    line: str


@dataclass(frozen=True)
class _Holding:
    user: int
    worn: Span
    registered_at: int


@dataclass(frozen=True)
class _Watch:
    device: int
    mac: str
    holdings: tuple[_Holding, ...]


@dataclass(frozen=True)
class _Outing:
    number: int
    user: int
    pattern: int
    visits: tuple[Span, ...]
    workouts: tuple[Span, ...]
    worn: Span


@dataclass(frozen=True)
class _Story:
    seed: int
    seconds: int
    users: int
    start: datetime

    def dice(self, table: str) -> _Dice:
        return _Dice(self.seed, table)

    def epoch(self, at: float) -> float:
        return int(self.start.timestamp()) + at

    def time(self, topic: str, row: str, at: float) -> object:
        """A time in one of the shapes that are delivered (C17)."""
        epoch = self.epoch(at)
        shape = self.dice(topic).unit("time_shape", row)
        if shape < 0.03:
            return (self.start + timedelta(seconds=at)).isoformat().replace("+00:00", "+0000")
        if shape < 0.06:
            return round(epoch * 1000)
        return float(epoch) if shape < 0.10 else epoch

    def envelope(self, topic: str, row: str, key: object, at: int, value: object) -> str:
        """A Kafka message, stamped in seconds or milliseconds (C18)."""
        dice = self.dice(topic)
        unit = 1000 if dice.chance("envelope_millis", row, 0.1) else 1
        message = {
            "key": key,
            "value": value,
            "topic": topic,
            "partition": dice.whole("partition", row, 0, 3),
            "offset": at,
            "timestamp": self.epoch(at) * unit,
        }
        return json.dumps(message, separators=(",", ":"))


# --- the story


def _watches(story: _Story) -> list[_Watch]:
    """One watch a user, two for every fifth; every sixth user's goes to the next one midway."""
    dice = story.dice("watches")
    midway = story.seconds // 2
    watches = []
    for index in range(story.users):
        for nth in range(2 if index % 5 == 0 else 1):
            row = f"{index}-{nth}"
            registered_at = dice.whole("registered_at", row, 0, story.seconds // 3)
            holdings = [_Holding(index, (0, story.seconds), registered_at)]
            if index % 6 == 3:
                heir = (index + 1) % story.users
                holdings = [
                    _Holding(index, (0, midway), registered_at),
                    _Holding(heir, (midway, story.seconds), midway),
                ]
            watches.append(_watch(dice, 2 * index + nth, tuple(holdings)))
    return watches


def _watch(dice: _Dice, number: int, holdings: tuple[_Holding, ...]) -> _Watch:
    octets = [2, *(dice.whole(f"mac_{nth}", number, 0, 255) for nth in range(2))]
    octets += number.to_bytes(3, "big")
    mac = ":".join(f"{octet:02x}" for octet in octets)
    return _Watch(FIRST_DEVICE + number, mac, holdings)


def _stray(story: _Story) -> _Watch:
    """A watch that nobody ever registers."""
    return _watch(story.dice("watches"), 2 * story.users, ())


def _outings(story: _Story) -> list[_Outing]:
    dice = story.dice("outings")
    outings = []
    for user in range(story.users):
        for number in range(math.ceil(story.seconds / OUTING)):
            row = f"{user}-{number}"
            pattern = (user + 7 * number) % PATTERNS
            opens = number * OUTING
            login = opens + dice.whole("login", row, 120, 360)
            logout = opens + dice.whole("logout", row, 1140, 1500)
            start = login + dice.whole("start", row, -120, 480)
            stop = start + dice.whole("stop", row, 480, 840)
            visits = [] if pattern in NO_VISIT else [(login, logout)]
            if pattern in SECOND_VISIT:
                visits.append((login + 300, logout + dice.whole("second_logout", row, -180, 180)))
            workouts = [] if pattern in NO_WORKOUT else [(start, stop)]
            if pattern in SECOND_WORKOUT:
                workouts.append((start + 240, stop + dice.whole("second_stop", row, -120, 120)))
            worn = max(start - 120, opens), min(stop + 120, opens + OUTING)
            outings.append(_Outing(number, user, pattern, tuple(visits), tuple(workouts), worn))
    return outings


def _registrations(story: _Story, watches: Sequence[_Watch]) -> Iterator[_Event]:
    for watch in watches:
        for holding in watch.holdings:
            at = holding.registered_at
            fields = (FIRST_USER + holding.user, watch.device, watch.mac, story.epoch(at))
            row = f"{watch.device}-{holding.user}"
            line = ",".join(map(str, fields))
            yield _Event(REGISTERED_USERS, REGISTERED_USERS, row, at, line)


def _gym_logins(
    story: _Story, watches: Sequence[_Watch], outings: Sequence[_Outing]
) -> Iterator[_Event]:
    """A visit comes at its end, half of them at the login too; few never end, or end too early."""
    dice = story.dice(GYM_LOGINS)
    stray = _stray(story)
    visits = [(stray, "stray-0", (0, story.seconds // 10), -1)]
    for outing in outings:
        for nth, visit in enumerate(outing.visits):
            row = f"{outing.user}-{outing.number}-{nth}"
            for watch in _worn(watches, outing.user, visit[0])[:1]:
                visits.append((watch, row, visit, outing.pattern))
    for watch, row, (login, logout), pattern in visits:
        gym = dice.whole("gym", row.rpartition("-")[0], 1, 5)
        mac = watch.mac.upper() if dice.chance("upper_case", row, 0.1) else watch.mac
        line = f"{mac},{gym},{story.epoch(login)},"
        left = max(login - 60, 0) if pattern in LEAVES_BEFORE else logout
        is_open = pattern in NEVER_LEAVES or left >= story.seconds
        if is_open or dice.chance("announced", row, 0.5):
            yield _Event(GYM_LOGINS, GYM_LOGINS, f"{row}-in", login, line)
        if not is_open:
            closing = f"{line}{story.epoch(left)}"
            yield _Event(GYM_LOGINS, GYM_LOGINS, f"{row}-out", max(login, left), closing)


def _worn(watches: Sequence[_Watch], user: int, at: int) -> list[_Watch]:
    return [
        watch
        for watch in watches
        for holding in watch.holdings
        if holding.user == user and holding.worn[0] <= at < holding.worn[1]
    ]


def _profile_changes(story: _Story) -> Iterator[_Event]:
    """Created; every third moves, every seventh is deleted, half of these return."""
    dice = story.dice("user_info")
    fake = Faker("en_US")
    for user in range(story.users):
        created_at = dice.whole("created_at", user, 0, story.seconds // 3)
        changes = [("new", created_at)]
        if user % 5 == 1:  # in the very same second, C3
            changes.append(("update", created_at))
        if user % 3 == 0:
            changes.append(
                ("update", created_at + dice.whole("moved", user, 1, story.seconds // 2))
            )
        if user % 7 == 2:
            deleted_at = dice.whole("deleted_at", user, story.seconds // 2, story.seconds * 3 // 4)
            kind = "delete" if user % 2 else "tombstone"
            changes += [(kind, deleted_at), ("update", deleted_at + 5)]  # revives nothing, C10
            if user % 14 == 2:
                changes.append(("new", deleted_at + story.seconds // 8))
        for edition, change in enumerate(changes):
            yield _profile_change(story, fake, user, edition, change)


def _profile_change(
    story: _Story, fake: Faker, user: int, edition: int, change: tuple[str, int]
) -> _Event:
    kind, at = change
    dice = story.dice("user_info")
    row = f"{user}-{edition}"

    def faked(column: str, of: object) -> Faker:
        fake.seed_instance(dice.whole(column, of, 0, 2**31))
        return fake

    born = FIRST_BIRTHDAY + timedelta(days=dice.whole("dob", user, 0, 28_000))
    sex = "F" if dice.chance("sex", user, 0.5) else "M"
    value = {
        "user_id": FIRST_USER + user,
        "update_type": kind,
        "timestamp": story.time("user_info", row, at),
        "dob": None if dice.chance("no_dob", user, 0.05) else born.strftime("%m/%d/%Y"),
        "sex": sex,
        "gender": "X" if dice.chance("gender", user, 0.1) else sex,
        "first_name": faked("first_name", user).first_name(),
        "last_name": faked("last_name", row).last_name(),
        "address": {
            "street_address": faked("street_address", row).street_address(),
            "city": faked("city", row).city(),
            "state": faked("state", row).state_abbr(),
            "zip": faked("zip", row).zipcode(),
        },
    }
    text = None if kind == "tombstone" else json.dumps(value)
    line = story.envelope("user_info", row, str(FIRST_USER + user), at, text)
    return _Event(KAFKA_MULTIPLEX, "user_info", row, at, line)


def _workout_events(story: _Story, outings: Sequence[_Outing]) -> Iterator[_Event]:
    """Few lose their stop, start twice, or stop before they start (C15)."""
    for outing in outings:
        for nth, (start, stop) in enumerate(outing.workouts):
            session = f"{outing.user}-{outing.number}-{nth}"
            actions = [("start", start), ("stop", stop)]
            if outing.pattern in NEVER_STOPS:
                actions.pop()
            elif outing.pattern in STARTS_TWICE:
                actions.append(("start", start + 60))
            elif outing.pattern in STOPS_BEFORE:
                actions[1] = ("stop", max(start - 60, 0))
            for action, at in actions:
                row = f"{session}-{action}-{at}"
                value = {
                    "user_id": FIRST_USER + outing.user,
                    "workout_id": outing.number + 1,
                    "timestamp": story.time("workout", row, at),
                    "action": action,
                    "session_id": nth + 1,
                }
                key = str(FIRST_USER + outing.user)
                line = story.envelope("workout", row, key, at, json.dumps(value))
                yield _Event(KAFKA_MULTIPLEX, "workout", row, at, line)


def _heart_rates(
    story: _Story, watches: Sequence[_Watch], outings: Sequence[_Outing]
) -> Iterator[_Event]:
    """One a second from every worn watch."""
    worn: dict[int, list[Span]] = defaultdict(list)
    for outing in outings:
        worn[outing.user].append(outing.worn)
    spans = [(_stray(story).device, (0, story.seconds // 10))]
    for watch in watches:
        for holding in watch.holdings:
            since, until = holding.worn
            for start, end in worn[holding.user]:
                spans.append((watch.device, (max(start, since), min(end, until))))
    for device, (start, end) in spans:
        for second in range(start, end):
            yield from _heart_rate(story, device, second)


def _heart_rate(story: _Story, device: int, second: int) -> Iterator[_Event]:
    """A reading, of a thousand four invalid (C16), and two with another value beside it (C3)."""
    dice = story.dice("bpm")
    row = f"{device}-{second}"
    # Who trains has a level of their own, and goes up and down within eight minutes.
    level, phase = 70 + 45 * dice.unit("level", device), dice.whole("phase", device, 0, 479)
    effort = abs((second + phase) % 480 - 240) / 240
    rate: float | None = round(level + 30 * effort + 10 * dice.unit("heartrate", row), 12)
    if dice.chance("invalid", row, 0.004):
        rate = (None, -69.6, 0, 310.5)[dice.whole("invalid_rate", row, 0, 3)]
    rates = [rate]
    if dice.chance("conflict", row, 0.002):
        rates.append(round(35 + 10 * dice.unit("other_heartrate", row), 12))
    at = second + 0.5 if dice.chance("half_second", row, 0.01) else second
    for nth, of_nth in enumerate(rates):
        value = {"device_id": device, "time": story.time("bpm", row, at), "heartrate": of_nth}
        line = story.envelope("bpm", row, device, second, value)
        yield _Event(KAFKA_MULTIPLEX, "bpm", f"{row}-{nth}", second, line)


# --- the delivery


def _broken(event: _Event) -> list[str]:
    """The event's line, broken in each of the ways that the staging models reject."""
    if event.table != KAFKA_MULTIPLEX:
        fields = event.line.split(",")
        ways = [[*fields[:at], "abc", *fields[at + 1 :]] for at in range(len(fields))]
        return [",".join(way) for way in (fields[:-1], [*fields, "x"], *ways)]
    envelope = json.loads(event.line)
    lines = [event.line[:-7], f"[{event.line}]", json.dumps({**envelope, "topic": "steps"})]
    if envelope["value"] is None:
        return [*lines, json.dumps({**envelope, "key": "abc"})]
    is_text = isinstance(envelope["value"], str)
    value = json.loads(envelope["value"]) if is_text else envelope["value"]
    for change in BROKEN_VALUES[event.kind]:
        broken = {**value, **change}
        lines.append(json.dumps({**envelope, "value": json.dumps(broken) if is_text else broken}))
    return lines


def _cut(
    events: Iterator[_Event], dice: _Dice, late: float, duplicates: float, corrupt: float
) -> dict[str, dict[int, list[str]]]:
    """By table and slice of delivery time, the lines in order of delivery."""
    delivered: dict[str, list[tuple[int, str, str]]] = {
        t: [] for t in (*CSV_COLUMNS, KAFKA_MULTIPLEX)
    }
    broken_kinds: set[str] = set()
    for event in events:
        row = f"{event.kind}/{event.row}"
        to_table = delivered[event.table]
        on_time = event.at + dice.whole("latency", row, 0, 20)
        at = on_time
        if dice.chance("late", row, late):
            at += SLICE * dice.whole("delay", row, 1, 3)
        to_table.append((at, row, event.line))
        if dice.chance("twice", row, duplicates):
            again = at + dice.whole("again_after", row, 0, 2 * SLICE)
            to_table.append((again, row, event.line))
        if corrupt > 0 and event.kind not in broken_kinds:  # each way at least once
            broken_kinds.add(event.kind)
            to_table += [(on_time, row, line) for line in _broken(event)]
        elif dice.chance("corrupt", row, corrupt):
            ways = _broken(event)
            to_table.append((on_time, row, ways[dice.whole("way", row, 0, len(ways) - 1)]))
    cut: dict[str, dict[int, list[str]]] = {table: defaultdict(list) for table in delivered}
    for table, lines in delivered.items():
        for at, _, line in sorted(lines):
            cut[table][at // SLICE].append(line)
    return cut


def _content(table: str, lines: Sequence[str]) -> bytes:
    if table == KAFKA_MULTIPLEX:
        return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)
    return "".join(f"{line}\n" for line in (",".join(CSV_COLUMNS[table]), *lines)).encode()


def generate(
    seed: int,
    *,
    minutes: int = 60,
    users: int = 20,
    late: float = 0,
    duplicates: float = 0,
    corrupt: float = 0,
    start: datetime = START,
) -> GeneratedFiles:
    """Tells a story and cuts it into the files that deliver it. The same arguments, the same bytes.

    Args:
        seed: Another seed, another story.
        minutes: The story's length in event time; the data grow with it.
        users: The number of people; the data grow with it.
        late: The share of events, 0 to 1, that come 10 to 30 minutes late.
        duplicates: The share of events, and of files, that come twice.
        corrupt: The share of events beside which a broken line comes; above 0, every way to be
            broken comes at least once, and two files come that cannot be read.
        start: When the story starts, to the second, with a time zone.

    Raises:
        ValueError: An argument is out of its range.
    """
    if minutes < 1 or users < 1:
        raise ValueError(f"minutes and users must be 1 or more; got {minutes} and {users}")
    check_shares(late=late, duplicates=duplicates, corrupt=corrupt)
    check_start(start)

    story = _Story(seed, 60 * minutes, users, start.astimezone(UTC).replace(microsecond=0))
    watches, outings = _watches(story), _outings(story)
    told = chain(
        _registrations(story, watches),
        _gym_logins(story, watches, outings),
        _profile_changes(story),
        _workout_events(story, outings),
        _heart_rates(story, watches, outings),
    )
    events = (event for event in told if event.at < story.seconds)
    dice = story.dice("delivery")
    files: dict[str, dict[str, bytes]] = {}
    for table, slices in _cut(events, dice, late, duplicates, corrupt).items():
        ending = "json.gz" if table == KAFKA_MULTIPLEX else "csv"
        named = files[table] = {}
        for number, lines in sorted(slices.items()):
            name = f"wearables-{seed}/{number:04d}"
            named[f"{name}.{ending}"] = content = _content(table, lines)
            first = duplicates > 0 and len(named) == 1
            if first or dice.chance("file_twice", f"{table}/{number}", duplicates):
                named[f"{name}-again.{ending}"] = content
    return _with_unreadable(files, seed) if corrupt > 0 else GeneratedFiles(files)


def _with_unreadable(files: dict[str, dict[str, bytes]], seed: int) -> GeneratedFiles:
    cut_off, wrong_header = (
        f"wearables-{seed}/cut-off.json.gz",
        f"wearables-{seed}/wrong-header.csv",
    )
    whole = next(iter(files[KAFKA_MULTIPLEX].values()))
    files[KAFKA_MULTIPLEX][cut_off] = whole[: len(whole) // 2]
    files[GYM_LOGINS][wrong_header] = b"mac,gym,login,logout\n02:00:00:00:00:00,1,1772431200,\n"
    return GeneratedFiles(files, (f"{GYM_LOGINS}/{wrong_header}", f"{KAFKA_MULTIPLEX}/{cut_off}"))


def write(
    home: Home,
    seed: int,
    *,
    minutes: int = 60,
    users: int = 20,
    late: float = 0,
    duplicates: float = 0,
    corrupt: float = 0,
    start: datetime = START,
    send: Send | None = None,
) -> list[Path]:
    """Writes the files of `generate` to the inbox.

    Args:
        home: Where to.
        seed: As in `generate`, like all the others.
        minutes: See there.
        users: See there.
        late: See there.
        duplicates: See there.
        corrupt: See there.
        start: See there.
        send: Sends the messages, which then come as no files.

    Returns:
        The files in order of delivery.
    """
    generated = generate(
        seed,
        minutes=minutes,
        users=users,
        late=late,
        duplicates=duplicates,
        corrupt=corrupt,
        start=start,
    )
    targets = [
        (home.inbox / table / name, content)
        for table, named in generated.files.items()
        for name, content in named.items()
    ]
    targets.sort(key=lambda target: target[0].name)
    written = []
    for path, content in targets:
        if send and path.is_relative_to(home.inbox / KAFKA_MULTIPLEX):
            send(messages_of(content))
        else:
            _put(path, content)
            written.append(path)
    return written


def messages_of(content: bytes) -> Iterator[Message]:
    """The lines of a file of messages, as messages; what is no envelope becomes the value of one.

    A file that cannot be read is one message, in hexadecimal.
    """
    try:
        lines = gzip.decompress(content).decode().splitlines()
    except (EOFError, OSError):
        lines = [content.hex()]
    for line in lines:
        try:
            envelope = json.loads(line)
            topic, value, at = envelope["topic"], envelope["value"], envelope["timestamp"]
            if topic not in (*BROKEN_VALUES, "gym"):
                raise KeyError(topic)
        except (ValueError, TypeError, KeyError):
            yield Message("bpm", None, line.encode(), round(START.timestamp() * 1000))
            continue
        if value is not None and not isinstance(value, str):
            value = json.dumps(value)
        key = envelope["key"]
        yield Message(
            topic,
            None if key is None else str(key).encode(),
            None if value is None else value.encode(),
            round(at * 1000) if at < 1e11 else round(at),
        )


def _put(path: Path, content: bytes) -> None:
    """Writes under a hidden name first, so that nobody reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.part")
    hidden.write_bytes(content)
    hidden.replace(path)
