"""A small set of files with its answers, for the test of a whole run in a workspace.

One person registers a watch, visits a gym for an hour and exercises in it for half of that. Who it
is comes of a number, so each run brings somebody new, and answers of earlier runs stay true.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

# Heart rates in the workout; one is impossible, and is counted and left out.
_RATES = (100.0, 110.0, 120.0, 130.0)
_IMPOSSIBLE_RATE = -1.0


class Question(NamedTuple):
    """What is asked, and the one row that must come of it, each value as text."""

    sql: str
    row: list[str]


def files_of(number: int, day: datetime) -> dict[str, tuple[str, bytes]]:
    """The files of somebody: by table a name and the content.

    Args:
        number: Who it is: 1 to 2**31 - 1.
        day: The midnight (UTC) of the day on which it happens, more than a day ago.
    """
    came = day + timedelta(hours=12)
    registered = f"{number},{number},{_mac_of(number)},{_seconds(day)}"
    visit = f"{_mac_of(number)},1,{_seconds(came)},{_seconds(came + timedelta(hours=1))}"
    messages = [
        ("user_info", _profile(number, day)),
        ("workout", _workout(number, "start", came + timedelta(minutes=15))),
        ("workout", _workout(number, "stop", came + timedelta(minutes=45))),
    ]
    for minute, rate in enumerate((*_RATES, _IMPOSSIBLE_RATE), start=20):
        at = _seconds(came + timedelta(minutes=minute))
        messages.append(("bpm", {"device_id": number, "time": at, "heartrate": rate}))
    messages.append(messages[3])  # delivered twice, and counted once
    lines = [
        json.dumps(
            {
                "key": str(number),
                "value": json.dumps(value),
                "topic": topic,
                "partition": 0,
                "offset": offset,
                "timestamp": _seconds(came),
            }
        )
        for offset, (topic, value) in enumerate(messages)
    ]
    head = "user_id,device_id,mac_address,registration_timestamp"
    return {
        "sbit.registered_users": (f"{number}.csv", f"{head}\n{registered}\n".encode()),
        "sbit.gym_logins": (f"{number}.csv", f"mac_address,gym,login,logout\n{visit}\n".encode()),
        "sbit.kafka_multiplex": (f"{number}.json", "\n".join([*lines, ""]).encode()),
    }


def questions_of(number: int, day: datetime, catalog: str) -> list[Question]:
    """What gold must say of somebody, worked out by hand.

    Args:
        number: Who it is.
        day: When it happened, as for `files_of`.
        catalog: Where gold is.
    """
    date = day.date().isoformat()
    return [
        Question(
            "select cast(date as string), workout_id, session_id, sex, city, state, "
            "cast(min_bpm as int), cast(avg_bpm as int), cast(max_bpm as int), num_readings, "
            f"num_invalid from {catalog}.gold.workout_bpm_summary where user_id = {number}",
            [date, "1", "1", "F", "Springfield", "IL", "100", "115", "130", "4", "1"],
        ),
        Question(
            "select cast(date as string), gym, cast(minutes_in_gym as int), "
            f"cast(minutes_exercising as int), visits from {catalog}.gold.gym_summary "
            f"where mac_address = '{_mac_of(number)}'",
            [date, "1", "60", "30", "1"],
        ),
    ]


def midnight_before(now: datetime) -> datetime:
    """The midnight (UTC) two days before, so that nothing of the set is ahead of any clock."""
    then = now.astimezone(UTC) - timedelta(days=2)
    return then.replace(hour=0, minute=0, second=0, microsecond=0)


def _seconds(at: datetime) -> int:
    return int(at.timestamp())


def _mac_of(number: int) -> str:
    return ":".join(["02", *(f"{number >> shift & 255:02x}" for shift in (32, 24, 16, 8, 0))])


def _profile(number: int, at: datetime) -> dict[str, Any]:
    address = {"street_address": "1 Main St", "city": "Springfield", "state": "IL", "zip": 62701}
    return {
        "user_id": number,
        "update_type": "new",
        "timestamp": _seconds(at),
        "dob": "05/17/1990",
        "sex": "F",
        "gender": "F",
        "first_name": "Test",
        "last_name": "Person",
        "address": address,
    }


def _workout(number: int, action: str, at: datetime) -> dict[str, Any]:
    return {
        "user_id": number,
        "workout_id": 1,
        "timestamp": _seconds(at),
        "action": action,
        "session_id": 1,
    }
