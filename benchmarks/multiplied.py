"""The real data set, multiplied: users copied, or days repeated, as files ready for the inbox.

    set 1 --copies of its users, at the same times---------> write       (a large full refresh)
          --its day of workouts again, for the same users--> write_days  (a long history)

The same arguments make the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from generators.wearables.tables import CSV_COLUMNS, GYM_LOGINS, KAFKA_MULTIPLEX, REGISTERED_USERS
from tests.support.set_1 import SET_1

WORKOUT_DAY = date(2023, 3, 11)
"""The day of set 1 on which all its visits and workouts are."""
READINGS_PER_FILE = 500_000
# Above every user and device of set 1, so that no copy's number is another's.
_ID_STEP = 1_000_000
_DAY_SECONDS = 86_400
# The level of the gzip command.
_GZIP_LEVEL = 6


class Reading(NamedTuple):
    """A reading: its watch, its time in epoch seconds, its rate as it was written."""

    device: int
    at: int
    rate: str


@dataclass(frozen=True)
class DataSet:
    """Set 1 as it was delivered.

    Attributes:
        registrations: user_id, device_id, mac_address, registration_timestamp, by name.
        gym_logins: mac_address, gym, login, logout, by name.
        profile_changes: The envelopes of the topic user_info; their values are JSON texts.
        workout_events: The envelopes of the topic workout; their values are JSON texts.
        readings: The readings, in the file's order.
    """

    registrations: list[dict[str, str]]
    gym_logins: list[dict[str, str]]
    profile_changes: list[dict[str, Any]]
    workout_events: list[dict[str, Any]]
    readings: list[Reading]


def set_1() -> DataSet:
    """Reads set 1."""
    with gzip.open(SET_1 / "3-bpm_1.json.gz", "rt") as lines:
        values = [json.loads(line, parse_float=str)["value"] for line in lines if line.strip()]
    return DataSet(
        registrations=_csv_rows("1-registered_users_1.csv"),
        gym_logins=_csv_rows("5-gym_logins_1.csv"),
        profile_changes=_json_rows("2-user_info_1.json"),
        workout_events=_json_rows("4-workout_1.json"),
        readings=[Reading(v["device_id"], v["time"], v["heartrate"]) for v in values],
    )


def write(folder: Path, readings: int) -> dict[str, int]:
    """Writes copies of all users of set 1, with everything of theirs, at the times of set 1.

    Args:
        folder: Gets `<table>/<file>`.
        readings: How many there shall be at least; the last copy is a whole one.

    Returns:
        The rows by entity, named as in the wearables' answers.
    """
    data = set_1()
    copies = range(math.ceil(readings / len(data.readings)))
    lines = (line for copy in copies for line in _reading_lines(data.readings, copy, 0))
    return {
        **_write_users(folder, data, copies),
        **_write_visits(folder, "", data, copies, [0]),
        "heart_rates": _write_readings(folder, "", lines),
    }


def write_days(folder: Path, first_day: date, days: int, readings_per_day: int) -> dict[str, int]:
    """Writes the day of workouts of set 1 again and again, with workouts and visits of each day.

    The users and the files that tell of them are the same for all days: where they were delivered
    before, they are nothing new. Users are copied until set 1 has enough readings on its day;
    fewer readings are spread evenly over the day.

    Args:
        folder: Gets `<table>/<file>`; what is of days has the first one in its name.
        first_day: The first day, UTC.
        days: How many days.
        readings_per_day: How many readings each day has, of all users together.

    Returns:
        The rows by entity, named as in the wearables' answers.
    """
    data = set_1()
    midnight = int(datetime.combine(WORKOUT_DAY, time(), UTC).timestamp())
    of_day = [reading for reading in data.readings if 0 <= reading.at - midnight < _DAY_SECONDS]
    copies = range(math.ceil(readings_per_day / len(of_day)))
    shifts = [(first_day - WORKOUT_DAY).days + nth for nth in range(days)]
    shares = [(readings_per_day + copy) // len(copies) for copy in copies]
    lines = (
        line
        for shift in shifts
        for copy, share in zip(copies, shares, strict=True)
        for line in _reading_lines(_spread(of_day, share), copy, shift)
    )
    return {
        **_write_users(folder, data, copies),
        **_write_visits(folder, f"-{first_day}", data, copies, shifts),
        "heart_rates": _write_readings(folder, f"-{first_day}", lines),
    }


def _csv_rows(name: str) -> list[dict[str, str]]:
    with (SET_1 / name).open(newline="") as lines:
        return list(csv.DictReader(lines))


def _json_rows(name: str) -> list[dict[str, Any]]:
    lines = (SET_1 / name).read_text().splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def _spread(readings: list[Reading], count: int) -> list[Reading]:
    return [readings[nth * len(readings) // count] for nth in range(count)]


# --- copies: a copy adds to numbers and addresses, a shift adds days to times


def _mac(mac: str, copy: int) -> str:
    """Another address: the first two octets count the copies, the others tell the users apart."""
    first, second, *others = mac.split(":")
    octets = (int(first + second, 16) + copy) % 2**16
    return ":".join([f"{octets >> 8:02x}", f"{octets & 255:02x}", *others])


def _change_line(envelope: Mapping[str, Any], copy: int) -> str:
    value = json.loads(envelope["value"])
    value["user_id"] += copy * _ID_STEP
    return _line(envelope, value)


def _workout_line(envelope: Mapping[str, Any], copy: int, shift: int) -> str:
    """A start or stop. Each day has workout numbers of its own."""
    value = json.loads(envelope["value"])
    value["user_id"] += copy * _ID_STEP
    value["workout_id"] += shift
    value["timestamp"] += shift * _DAY_SECONDS
    return _line(envelope, value)


def _line(envelope: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    message = {
        **envelope,
        "key": str(value["user_id"]),
        "value": json.dumps(value),
        "timestamp": int(value["timestamp"]),
    }
    return json.dumps(message, separators=(",", ":"))


def _reading_lines(readings: Iterable[Reading], copy: int, shift: int) -> Iterator[str]:
    """The envelopes of readings: half of the benchmark's time, so no JSON library."""
    more_id, more_seconds = copy * _ID_STEP, shift * _DAY_SECONDS
    for offset, reading in enumerate(readings):
        device, at = reading.device + more_id, reading.at + more_seconds
        yield (
            f'{{"key":{device},"offset":{offset},"partition":{offset % 30},"timestamp":{at},'
            f'"topic":"bpm","value":{{"device_id":{device},"time":{at},'
            f'"heartrate":{reading.rate}}}}}'
        )


# --- files


def _write_users(folder: Path, data: DataSet, copies: range) -> dict[str, int]:
    registrations = [
        (
            int(row["user_id"]) + copy * _ID_STEP,
            int(row["device_id"]) + copy * _ID_STEP,
            _mac(row["mac_address"], copy),
            row["registration_timestamp"],
        )
        for copy in copies
        for row in data.registrations
    ]
    changes = [_change_line(row, copy) for copy in copies for row in data.profile_changes]
    _put(folder / REGISTERED_USERS / "registered_users.csv", _csv(REGISTERED_USERS, registrations))
    _put(folder / KAFKA_MULTIPLEX / "user_info.json", _text(changes))
    return {"registrations": len(registrations), "profile_changes": len(changes)}


def _write_visits(
    folder: Path, name: str, data: DataSet, copies: range, shifts: Iterable[int]
) -> dict[str, int]:
    of_copies = [(copy, shift) for shift in shifts for copy in copies]
    logins = [
        (
            _mac(row["mac_address"], copy),
            row["gym"],
            int(row["login"]) + shift * _DAY_SECONDS,
            int(row["logout"]) + shift * _DAY_SECONDS,
        )
        for copy, shift in of_copies
        for row in data.gym_logins
    ]
    events = [
        _workout_line(row, copy, shift) for copy, shift in of_copies for row in data.workout_events
    ]
    _put(folder / GYM_LOGINS / f"gym_logins{name}.csv", _csv(GYM_LOGINS, logins))
    _put(folder / KAFKA_MULTIPLEX / f"workout{name}.json", _text(events))
    return {"gym_logins": len(logins), "workout_events": len(events)}


def _write_readings(folder: Path, name: str, lines: Iterator[str]) -> int:
    written = number = 0
    while of_file := list(islice(lines, READINGS_PER_FILE)):
        content = gzip.compress(_text(of_file), _GZIP_LEVEL, mtime=0)
        _put(folder / KAFKA_MULTIPLEX / f"bpm{name}-{number:03d}.json.gz", content)
        written += len(of_file)
        number += 1
    return written


def _csv(table: str, rows: Iterable[tuple[object, ...]]) -> bytes:
    return _text(",".join(map(str, row)) for row in (CSV_COLUMNS[table], *rows))


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
