"""The oracle against set 1 and against the cases C1 to C31, each worked out by hand."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from itertools import permutations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from generators.wearables.tables import GYM_LOGINS, KAFKA_MULTIPLEX, REGISTERED_USERS
from tests.oracle.wearables.marts import (
    Answers,
    CsvRow,
    Deliveries,
    Pulled,
    Row,
    UnreadableError,
    Value,
    age_band,
    answers,
    instant,
    payload_digest,
    read_contents,
    read_deliveries,
)

SHARED = Path(__file__).parents[3] / "shared"
SET_1 = SHARED / "data/sbit-set-1"
CASES = SHARED / "cases"
MAC = "02:00:00:00:00:01"
DAY = 1_678_492_800  # 2023-03-11T00:00:00Z


def clock(text: str, day: int = DAY) -> int:
    """Epoch seconds of hh:mm or hh:mm:ss on a day."""
    hours, minutes, *seconds = map(int, text.split(":"))
    return day + 3600 * hours + 60 * minutes + sum(seconds)


def at(text: str) -> datetime:
    return datetime.fromtimestamp(clock(text), UTC)


def moment(when: object) -> object:
    """What is written of a time: small numbers count seconds from the beginning of the day."""
    is_small = isinstance(when, int | float) and when < 86_400
    return DAY + when if is_small else when


def registration(user: object, device: object, when: object, mac: str = MAC) -> CsvRow:
    fields = {"user_id": user, "device_id": device, "mac_address": mac}
    return {
        **{name: str(field) for name, field in fields.items()},
        "registration_timestamp": str(moment(when)),
    }


def visit(login: object, logout: object = "", gym: object = 1, mac: str = MAC) -> CsvRow:
    times = {"login": str(moment(login)), "logout": str(moment(logout))}
    return {"mac_address": mac, "gym": str(gym), **times}


def message(topic: str, value: object, key: object = None, when: object = DAY) -> str:
    return json.dumps(
        {"key": key, "value": value, "topic": topic, "partition": 0, "offset": 0, "timestamp": when}
    )


def profile(user: int, kind: str, when: object, name: str = "A", **more: object) -> str:
    value: dict[str, object] = {"user_id": user, "update_type": kind, "timestamp": moment(when)}
    value |= {"dob": "02/02/1999", "sex": "M", "gender": "M", "first_name": name, "last_name": "Z"}
    value["address"] = {"street_address": "1 Way", "city": "Bay", "state": "CA", "zip": 90000}
    return message("user_info", json.dumps(value | more))


def event(action: str, when: object, user: int = 1, session: int = 1) -> str:
    value = {"user_id": user, "workout_id": 1, "timestamp": moment(when), "action": action}
    return message("workout", json.dumps(value | {"session_id": session}))


def workout(start: str, stop: str, user: int = 1, session: int = 1, day: int = DAY) -> list[str]:
    return [
        event("start", clock(start, day), user, session),
        event("stop", clock(stop, day), user, session),
    ]


def bpm(when: object, rate: object, device: object = 7) -> str:
    return message("bpm", {"device_id": device, "time": moment(when), "heartrate": rate})


def passing(action: str, when: object, gym: int = 1, mac: str = MAC) -> str:
    value = {"mac_address": mac, "gym": gym, "action": action, "time": moment(when)}
    return message("gym", json.dumps(value))


def work_out(
    messages: Iterable[str] = (),
    visits: Iterable[CsvRow] = (),
    registrations: Iterable[CsvRow] = (registration(1, 7, DAY - 1),),
    report_timezone: str = "UTC",
    now: datetime | None = None,
) -> Answers:
    deliveries = Deliveries(list(registrations), list(visits), list(messages))
    return answers(deliveries, report_timezone, now=now)


def picked(row: Row, *names: str) -> tuple[Value, ...]:
    return tuple(row[name] for name in names)


def bpm_figures(row: Row) -> tuple[Value, ...]:
    return picked(row, "num_readings", "num_invalid", "min_bpm", "avg_bpm", "max_bpm")


def bpm_of(row: Row) -> tuple[Value, ...]:
    return picked(row, "num_readings", "min_bpm", "avg_bpm", "max_bpm")


def minutes(row: Row) -> tuple[str, str]:
    return str(row["minutes_in_gym"]), str(row["minutes_exercising"])


def accounts(found: Answers, entity: str) -> tuple[int, ...]:
    counts = found.entity_counts[entity]
    assert counts["events_in"] == counts["accepted"] + counts["duplicates"] + counts["row_rejects"]
    return tuple(counts.values())


def refused(found: Answers, entity: str) -> tuple[int, int]:
    counts = found.entity_counts[entity]
    return counts["row_rejects"], counts["field_rejects"]


# --- set 1


@pytest.fixture(scope="module")
def set_1() -> Answers:
    if not SHARED.exists():
        pytest.skip(f"what it reads is not in {SHARED}")
    messages = ["2-user_info_1.json", "3-bpm_1.json.gz", "4-workout_1.json"]
    return answers(
        read_deliveries(
            {
                REGISTERED_USERS: [SET_1 / "1-registered_users_1.csv"],
                GYM_LOGINS: [SET_1 / "5-gym_logins_1.csv"],
                KAFKA_MULTIPLEX: [SET_1 / name for name in messages],
            }
        )
    )


def test_set_1_counts(set_1: Answers) -> None:
    accepted = {entity: counts["accepted"] for entity, counts in set_1.entity_counts.items()}
    assert accepted == {
        "registrations": 5,
        "gym_logins": 8,
        "profile_changes": 7,
        "workout_events": 16,
        "gym_events": 0,
        "heart_rates": 253_801,
        "unknown": 0,
    }
    assert set_1.unmatched_readings == 81_900
    assert accepted["heart_rates"] - set_1.unmatched_readings == 171_901
    assert set_1.current_users == 5
    assert len(set_1.gym_visits) == len(set_1.workout_bpm_summary) == 8
    assert [row["status"] for row in set_1.workout_sessions] == ["ended"] * 8


def test_set_1_has_one_workout_with_readings(set_1: Answers) -> None:
    (row,) = (row for row in set_1.workout_bpm_summary if row["num_readings"])
    assert picked(row, "user_id", "workout_id", "session_id") == (12474, 1, 1)
    assert picked(row, "date", "age", "sex", "gender") == (date(2023, 3, 11), "75-85", "M", "M")
    assert picked(row, "city", "state") == ("San Fernando", "CA")
    assert picked(row, "num_readings", "num_invalid") == (3900, 0)
    assert picked(row, "min_bpm", "avg_bpm", "max_bpm") == pytest.approx(
        (35.003105735835994, 64.642364860269, 94.98191173214704), rel=0, abs=1e-9
    )


def test_set_1_gym_minutes(set_1: Answers) -> None:
    found = {
        (row["gym"], row["mac_address"]): (*minutes(row), row["visits"])
        for row in set_1.gym_summary
    }
    assert found == {
        (1, "57:24:ac:8c:75:ea"): ("75.00", "65.00", 1),
        (1, "ae:ec:f6:48:ca:f7"): ("45.00", "35.00", 1),
        (3, "36:1f:d9:d3:e8:0d"): ("135.00", "115.00", 2),
        (5, "14:cd:d6:db:70:f6"): ("125.00", "105.00", 2),
        (5, "4c:c5:9f:cb:13:bd"): ("75.00", "65.00", 1),
        (5, "57:24:ac:8c:75:ea"): ("72.00", "63.00", 1),
    }
    assert sum(Decimal(inside) for inside, _, _ in found.values()) == Decimal("527.00")
    assert sum(Decimal(exercising) for _, exercising, _ in found.values()) == Decimal("448.00")


# --- the cases


def test_c1_epoch_seconds_are_exact() -> None:
    found = work_out(
        [
            *(event("start", 1678521900.0), event("stop", 1678525800.0)),
            *(event("start", 1678522800, session=2), event("stop", 1678524900, session=2)),
        ],
        [visit(1678521900, 1678525800), visit(1678522800, 1678524900, gym=2)],
    )
    assert [minutes(row) for row in found.gym_visits] == [("65.00", "65.00"), ("35.00", "35.00")]


def test_c2_two_changes_in_96_seconds() -> None:
    found = work_out(
        [
            profile(12140, "new", 1678451529, last_name="Clark"),
            profile(12140, "update", 1678451625.0, last_name="Castillo"),
        ]
    )
    changed_at = datetime(2023, 3, 10, 12, 33, 45, tzinfo=UTC)
    assert [picked(r, "last_name", "valid_to") for r in found.profile_versions] == [
        ("Clark", changed_at),
        ("Castillo", None),
    ]
    assert found.current_users == 1


def test_c3_one_version_an_instant_in_every_order() -> None:
    changes = [profile(1, "new", 100, "A"), profile(1, "update", 100, "B")]
    for order in permutations(changes):
        found = work_out(order)
        assert [row["first_name"] for row in found.profile_versions] == ["B"]
        assert accounts(found, "profile_changes")[:3] == (2, 2, 0)
    for order in permutations([*changes, profile(1, "delete", 100, "C")]):
        assert [row["is_deleted"] for row in work_out(order).profile_versions] == [True]


def test_c3_smallest_digest_between_equals() -> None:
    def digest(name: str) -> str:
        payload = ["02/02/1999", "M", "M", name, "Z", "1 Way", "Bay", "CA", "90000"]
        return payload_digest(payload)

    smallest = min("ABC", key=digest)
    for order in permutations(profile(1, "update", 100, name) for name in "ABC"):
        assert work_out(order).profile_versions[0]["first_name"] == smallest
    assert payload_digest(["a", None]) == (  # printf '1:a,-' | sha256sum
        "f37fe497c28aca05c554e58bb19b60e6a277e291f7f3cb8d027f704a63d6018b"
    )


def test_c3_valid_before_invalid_then_the_higher_reading() -> None:
    noon = clock("12:00:10")
    for order in permutations(bpm(noon, rate) for rate in (70, 310, 80.0, None, 80)):
        found = work_out([*workout("12:00", "12:30"), *order])
        assert bpm_figures(found.workout_bpm_summary[0]) == (1, 0, 80, 80, 80)
        assert accounts(found, "heart_rates") == (5, 1, 4, 0, 0, 3)


def test_c4_c5_order_of_arrival_is_no_watermark() -> None:
    changes = [profile(1, "new", 100, "A"), profile(9, "new", 900), profile(1, "update", 150, "B")]
    found = work_out(changes)
    assert [row["first_name"] for row in found.profile_versions if row["valid_to"] is None] == [
        "B",
        "A",
    ]
    arrivals = [registration(user, user, when) for user, when in ((1, 200), (2, 100), (3, 300))]
    assert accounts(work_out(registrations=arrivals), "registrations")[:2] == (3, 3)


def test_c6_open_then_closed() -> None:
    opened = work_out(visits=[visit(1000)])
    assert picked(opened.gym_visits[0], "status", "minutes_in_gym") == ("open", None)
    assert picked(opened.gym_summary[0], "minutes_in_gym", "minutes_exercising") == (None, None)
    assert picked(opened.gym_summary[0], "visits", "open_visits") == (1, 1)
    closed = work_out(visits=[visit(1000), visit(1000, 5500)])
    assert minutes(closed.gym_summary[0]) == ("75.00", "0.00")
    assert picked(closed.gym_summary[0], "visits", "open_visits") == (1, 0)
    assert accounts(closed, "gym_logins")[:3] == (2, 2, 0)


def test_c6_two_logouts_early_logout_overlap() -> None:
    later = work_out(visits=[visit(1000, 5500), visit(1000, 2200), visit(1000)])
    assert minutes(later.gym_visits[0]) == ("75.00", "0.00")
    early = work_out(visits=[visit(1000, 400)])
    assert picked(early.gym_visits[0], "status", "minutes_in_gym") == ("incomplete", None)
    assert picked(early.gym_summary[0], "minutes_in_gym", "open_visits") == (None, 0)
    overlapping = [visit(clock("10:00"), clock("11:00")), visit(clock("10:30"), clock("11:30"))]
    found = work_out(workout("10:45", "11:15"), overlapping)
    assert [minutes(row) for row in found.gym_visits] == [("60.00", "15.00"), ("60.00", "30.00")]
    assert minutes(found.gym_summary[0]) == ("90.00", "30.00")
    assert picked(found.gym_summary[0], "visits", "workouts") == (2, 1)


def test_c7_c8_the_last_workout_with_all_its_readings() -> None:
    readings = [bpm(clock("12:00") + n, rate) for n, rate in enumerate((60, 80, 100, 120), start=1)]
    found = work_out([*workout("12:00", "12:30"), *readings])
    assert bpm_figures(found.workout_bpm_summary[0]) == (4, 0, 60, 90, 120)


@pytest.mark.parametrize(
    ("born", "on", "band"),
    [
        (date(1999, 2, 2), date(2023, 3, 11), "18-25"),
        (date(1939, 7, 25), date(2023, 3, 11), "75-85"),
        (date(2005, 3, 12), date(2023, 3, 11), "under 18"),
        (date(2005, 3, 11), date(2023, 3, 11), "18-25"),
        (date(1998, 3, 11), date(2023, 3, 11), "25-35"),
        (date(1928, 3, 12), date(2023, 3, 11), "85-95"),
        (date(1928, 3, 11), date(2023, 3, 11), "95+"),
        (date(1998, 2, 28), date(2023, 2, 28), "25-35"),
        (date(2000, 2, 29), date(2025, 2, 28), "18-25"),
        (date(2000, 2, 29), date(2025, 3, 1), "25-35"),
        (date(2023, 3, 12), date(2023, 3, 11), "unknown"),
        (None, date(2023, 3, 11), "unknown"),
    ],
)
def test_c9_age_at_the_workout(born: date | None, on: date, band: str) -> None:
    assert age_band(born, on) == band


def test_c9_age_and_date_are_of_the_report_timezone() -> None:
    start = clock("00:30")  # the 10th in California
    messages = [
        profile(1, "new", 100, dob="03/11/1998"),
        *(event("start", start), event("stop", start + 60)),
    ]
    in_utc = work_out(messages).workout_bpm_summary[0]
    assert picked(in_utc, "date", "age") == (date(2023, 3, 11), "25-35")
    in_california = work_out(messages, report_timezone="America/Los_Angeles")
    row = in_california.workout_bpm_summary[0]
    assert picked(row, "date", "age") == (date(2023, 3, 10), "18-25")


def test_c10_only_new_revives() -> None:
    changes = [
        profile(1, "new", 1, "A"),
        profile(1, "delete", 2, "A"),
        profile(1, "update", 1.5, "B"),
        profile(1, "update", 3, "C"),
        profile(1, "new", 4, "D"),
    ]
    for order in permutations(changes):
        versions = work_out(order).profile_versions
        assert [picked(row, "first_name", "is_deleted") for row in versions] == [
            ("A", False),
            ("B", False),
            (None, True),
            (None, True),
            ("D", False),
        ]
    assert work_out(changes[:4]).current_users == 0
    assert work_out(changes).current_users == 1


def test_c10_profile_at_the_start_of_a_workout() -> None:
    changes = [
        profile(1, "update", clock("09:00"), address={"city": "First"}),
        profile(1, "update", clock("11:00"), address={"city": "Second"}),
        profile(1, "delete", clock("13:00")),
    ]
    cities = {"08:00": "First", "10:00": "First", "11:00": "Second", "12:00": "Second"}
    for start, city in cities.items():
        found = work_out([*changes, *workout(start, "15:00")])
        assert picked(found.workout_bpm_summary[0], "age", "city") == ("18-25", city)
    for start, of_user in (("13:00", changes), ("12:00", [])):
        found = work_out([*of_user, *workout(start, "15:00")])
        row = found.workout_bpm_summary[0]
        names = ("age", "sex", "gender", "city", "state")
        assert picked(row, *names) == (None,) * 5


@pytest.mark.parametrize(
    ("workouts", "exercising"),
    [
        ([("10:05", "10:25"), ("10:30", "10:50")], "40.00"),
        ([("10:05", "10:25"), ("10:15", "10:35")], "30.00"),
        ([("09:50", "10:10"), ("10:50", "11:20")], "20.00"),
        ([("09:00", "12:00"), ("10:10", "10:20")], "60.00"),
        ([("09:00", "10:00"), ("11:00", "12:00")], "0.00"),
    ],
)
def test_c11_c12_c13_union_of_workouts_inside_the_visit(
    workouts: list[tuple[str, str]], exercising: str
) -> None:
    messages = [
        line
        for session, (start, stop) in enumerate(workouts)
        for line in workout(start, stop, session=session)
    ]
    found = work_out(messages, [visit(clock("10:00"), clock("11:00"))])
    assert minutes(found.gym_visits[0]) == minutes(found.gym_summary[0]) == ("60.00", exercising)
    assert found.gym_visits[0]["workouts"] == (0 if exercising == "0.00" else 2)


def test_c13_workout_without_readings() -> None:
    found = work_out(workout("10:00", "11:00"))
    assert bpm_figures(found.workout_bpm_summary[0]) == (0, 0, None, None, None)


def test_c14_visit_across_midnight_is_of_the_login() -> None:
    night = visit(clock("23:30"), clock("01:00", DAY + 86_400))
    found = work_out(workout("00:10", "00:40", day=DAY + 86_400), [night])
    (row,) = found.gym_summary
    assert row["date"] == date(2023, 3, 11)
    assert minutes(row) == ("90.00", "30.00")


def sessions(*events: tuple[str, str]) -> list[tuple[Value, ...]]:
    lines = [event(action, clock(when)) for action, when in events]
    found = [work_out(order).workout_sessions for order in (lines, lines[::-1])]
    assert found[0] == found[1]
    return [picked(row, "started_at", "ended_at", "status") for row in found[0]]


def test_c15_sessions() -> None:
    ten, half_past = at("10:00"), at("10:30")
    stop_first = sessions(("stop", "10:00"), ("start", "10:30"))
    assert stop_first == [(half_past, None, "incomplete")]
    assert sessions(("stop", "10:00")) == [(None, None, "incomplete")]
    assert sessions(("start", "10:00"), ("stop", "10:00")) == [(ten, None, "incomplete")]
    twice = sessions(("start", "10:00"), ("start", "10:02"), ("stop", "10:20"), ("stop", "10:30"))
    assert twice == [(ten, half_past, "ended")]
    assert sessions(("start", "10:00")) == [(ten, None, "open")]
    long = sessions(("start", "10:00"), ("stop", "13:00"))
    assert long == [(ten, at("13:00"), "ended")]
    open_ones = work_out([event("start", DAY), event("stop", DAY, session=2)])
    assert open_ones.workout_bpm_summary == []


def test_c15_two_sessions_in_one_second() -> None:
    found = work_out([*workout("10:00", "10:30"), *workout("10:30", "11:00", session=2)])
    assert [row["status"] for row in found.workout_sessions] == ["ended", "ended"]
    assert accounts(found, "workout_events")[:3] == (4, 4, 0)


def test_c16_invalid_readings_are_kept_out_of_the_average() -> None:
    rates = (None, -69.6, 0, 300.5, 300, "225", "abc", "NaN")
    readings = [bpm(clock("12:00:01") + n, rate) for n, rate in enumerate(rates)]
    broken = [bpm(clock("12:01"), 80, device) for device in ("abc", None, "7.0", 7.0, True)]
    found = work_out([*workout("12:00", "12:30"), *readings, *broken])
    assert bpm_figures(found.workout_bpm_summary[0]) == (2, 6, 225, 262.5, 300)
    assert accounts(found, "heart_rates") == (13, 8, 0, 5, 2, 0)


@pytest.mark.parametrize(
    "text",
    [
        "1678410000",
        " 1678410000.0 ",
        "1678410000000",
        "1.678410000e9",
        "2023-03-10T01:00:00+0000",
        "2023-03-10T01:00:00Z",
        "2023-03-10T01:00:00",
        "2023-03-10T02:00:00.000+01:00",
    ],
)
def test_c17_c18_shapes_of_time(text: str) -> None:
    assert instant(text) == 1_678_410_000_000_000


def test_c17_fractions_round_half_up_to_microseconds() -> None:
    assert instant("1678410000.5") == 1_678_410_000_500_000
    assert instant("1678410000.0000005") == 1_678_410_000_000_001
    assert instant("1678410000.00000049") == 1_678_410_000_000_000
    assert instant("2023-03-10T01:00:00.1234565Z") == 1_678_410_000_123_457
    times = [1678410000, 1678410000.5, "2023-03-10T01:00:00+0000"]
    assert accounts(work_out(bpm(when, 80) for when in times), "heart_rates")[:3] == (3, 2, 1)


@pytest.mark.parametrize(
    "text",
    [
        *(None, "", " ", "abc", "-1", "-0.1", "NaN", "Infinity", "1e30", "9" * 5000, "2023-02-30"),
        *("1e-999999999", "1e999999999", "1678410000e000", "1678410000e-000", f"{'0' * 9}e9"),
    ],
)
def test_unreadable_times(text: str | None) -> None:
    with pytest.raises(UnreadableError):
        instant(text)


def test_a_clock_that_is_an_hour_ahead_is_not_believed() -> None:
    now = datetime.fromtimestamp(1_678_410_000, UTC)
    readings = [bpm(1_678_413_600, 80), bpm(1_678_413_600.000001, 80)]
    assert accounts(work_out(readings, now=now), "heart_rates")[:4] == (2, 1, 0, 1)
    assert accounts(work_out(readings), "heart_rates")[:4] == (2, 2, 0, 0)


@pytest.mark.parametrize("when", [1678410000, 1678410000000, "1678410000"])
def test_c18_tombstone_is_a_delete_at_the_envelopes_time(when: object) -> None:
    tombstone = message("user_info", None, key="1", when=when)
    found = work_out([profile(1, "new", 1678400000), tombstone])
    assert found.current_users == 0
    assert picked(found.profile_versions[1], "valid_from", "is_deleted") == (
        datetime(2023, 3, 10, 1, tzinfo=UTC),
        True,
    )


def test_c19_every_reading_has_the_owner_of_its_time() -> None:
    handover = clock("12:10")
    owners = [
        registration(1, 7, clock("12:00:30")),
        registration(1, 8, clock("12:05"), mac="02:00:00:00:00:02"),
        *(registration(user, 7, handover) for user in (3, 2)),  # the smallest user wins
    ]
    readings = [
        bpm(clock("12:00:01"), 60),  # before the first registration
        bpm(handover - 1, 70),
        bpm(handover, 80),
        bpm(handover, 90, device=8),
        bpm(handover, 99, device=9),  # nobody's
    ]
    both = [*workout("12:00", "12:30"), *workout("12:00", "12:30", user=2)]
    found = work_out([*both, *readings], registrations=owners)
    assert [bpm_figures(row) for row in found.workout_bpm_summary] == [
        (3, 0, 60, pytest.approx(220 / 3, abs=1e-12), 90),
        (1, 0, 80, 80, 80),
    ]
    assert found.unmatched_readings == 1


def test_c19_a_mac_has_owners_too() -> None:
    owners = [registration(1, 7, clock("09:00")), registration(2, 7, clock("12:00"))]
    spans = [("08:00", "08:30"), ("11:30", "12:30"), ("12:00", "12:30")]
    visits = [visit(clock(login), clock(logout), gym=n) for n, (login, logout) in enumerate(spans)]
    found = work_out(workout("12:00", "12:10", user=2), visits, owners)
    assert [picked(row, "user_id", "workouts") for row in found.gym_visits] == [
        (1, 0),
        (1, 0),
        (2, 1),
    ]
    found = work_out([], [visit(clock("09:30")), visit(clock("12:30"))], owners)
    assert found.gym_summary[0]["user_id"] == 2


def test_c20_a_workout_belongs_to_the_gym_of_its_time() -> None:
    spans = {101: ("08:00", "09:00"), 105: ("18:00", "19:00")}
    visits = [visit(clock(login), clock(logout), gym) for gym, (login, logout) in spans.items()]
    found = work_out(workout("18:10", "18:40"), visits)
    assert [picked(row, "gym", "workouts", "minutes_exercising") for row in found.gym_summary] == [
        (101, 0, Decimal("0.00")),
        (105, 1, Decimal("30.00")),
    ]


def test_c21_equal_files_and_equal_messages_count_once() -> None:
    lines = "".join(f"{line}\n\n" for line in workout("10:00", "10:30")).encode()
    login = f"mac_address,gym,login,logout\r\n{MAC},1,{DAY},{DAY + 4500}\r\n\r\n".encode()
    found = answers(
        read_contents(
            {
                KAFKA_MULTIPLEX: [
                    ("a.json", lines),
                    ("b.json", lines),
                    ("c.json.gz", gzip.compress(lines)),
                ],
                GYM_LOGINS: [("a.csv", login)],
            }
        )
    )
    # All messages here share partition and offset, which are no identity.
    assert accounts(found, "workout_events")[:3] == (4, 2, 2)
    assert len(found.workout_bpm_summary) == len(found.gym_visits) == 1
    with pytest.raises(ValueError, match="header must be mac_address,gym,login,logout"):
        read_contents({GYM_LOGINS: [("a.csv", b"mac,gym,login,logout\n")]})


def test_c22_minutes_are_rounded_once() -> None:
    messages = [line for n in range(3) for line in workout(f"10:0{n}:00", f"10:0{n}:20", session=n)]
    found = work_out(messages, [visit(clock("10:00"), clock("10:05"))])
    assert minutes(found.gym_summary[0]) == ("5.00", "1.00")
    half_cent = work_out(visits=[visit(0, 0.3)])  # 0.005 minutes
    assert minutes(half_cent.gym_summary[0]) == ("0.01", "0.00")


@pytest.mark.parametrize("dob", ["01-05-1964", "1/5/1964", "13/01/1964", "02/30/1964", ""])
def test_c23_unreadable_birth_date_keeps_the_profile(dob: str) -> None:
    found = work_out([profile(1, "new", 100, dob=dob), *workout("10:00", "10:30")])
    assert picked(found.profile_versions[0], "first_name", "dob") == ("A", None)
    assert found.workout_bpm_summary[0]["age"] == "unknown"
    assert accounts(found, "profile_changes") == (1, 1, 0, 0, 1, 0)
    assert refused(work_out([profile(1, "new", 100, dob=None)]), "profile_changes") == (0, 0)


def test_c24_start_is_out_end_is_in() -> None:
    start, end = clock("12:00"), clock("12:30")
    times = (start, start + 0.000001, end, end + 0.000001)
    readings = [bpm(when, rate) for when, rate in zip(times, (50, 60, 70, 80), strict=True)]
    found = work_out([*workout("12:00", "12:30"), *readings])
    assert bpm_figures(found.workout_bpm_summary[0]) == (2, 0, 60, 65, 70)


def test_the_curve_counts_minutes_from_the_start() -> None:
    """A reading at the very end of a minute is the minute's; the start's own is of none."""
    start = clock("08:05:30")
    rates = {0: 50, 0.5: 60, 60: 90.5, 60.25: 100, 90: 301, 150: None, 210: 120, 211: 130}
    found = work_out(
        [
            *workout("08:05:30", "08:09:00"),
            *workout("10:00", "10:01", session=2),
            *(bpm(start + seconds, rate) for seconds, rate in rates.items()),
        ]
    )
    curve = [picked(row, "session_id", "minute") + bpm_of(row) for row in found.workout_bpm_curve]
    assert curve == [
        (1, 1, 2, 60.0, 75.25, 90.5),
        (1, 2, 1, 100.0, 100.0, 100.0),
        (1, 4, 1, 120.0, 120.0, 120.0),
    ]
    summary, without_readings = found.workout_bpm_summary
    assert bpm_figures(summary) == (4, 2, 60.0, 92.625, 120.0)
    assert bpm_figures(without_readings) == (0, 0, None, None, None)


def test_the_curve_has_all_devices_of_the_user_of_their_time() -> None:
    found = work_out(
        [
            *workout("08:00", "08:10"),
            *workout("08:00", "08:10", user=2),
            bpm(clock("08:00:59"), 60, device=7),
            bpm(clock("08:00:30"), 70, device=8),
            bpm(clock("08:01"), 100, device=7),
        ],
        registrations=[
            registration(1, 7, DAY - 1),
            registration(1, 8, DAY - 1),
            registration(2, 7, clock("08:01")),
        ],
    )
    curve = [picked(row, "user_id", "minute") + bpm_of(row) for row in found.workout_bpm_curve]
    assert curve == [(1, 1, 2, 60.0, 65.0, 70.0), (2, 1, 1, 100.0, 100.0, 100.0)]


def test_c25_sex_and_gender_are_two_columns() -> None:
    found = work_out([profile(1, "new", 100, sex="F", gender="X"), *workout("10:00", "10:30")])
    assert picked(found.workout_bpm_summary[0], "sex", "gender") == ("F", "X")


def test_c26_a_replayed_file_with_one_line_more() -> None:
    first = [*workout("10:00", "10:30"), event("start", clock("11:00"), session=2)]
    found = work_out([*first, *first, event("stop", clock("11:30"), session=2)])
    assert accounts(found, "workout_events")[:3] == (7, 4, 3)
    assert len(found.workout_bpm_summary) == 2


JSON_OF_A_READING = f'{{"device_id": 7, "time": {DAY}, "heartrate": 60}}'
NO_JSON = (
    *('{"heartrate": NaN, ', '{"heartrate": -Infinity, ', '{"heartrate": 060, ', "{'a': 1, "),
    *('{"a": "\t", ', '{"a": "\x01", ', '{"a": 1., ', '{"a": .5, ', "{, ", "{a: 1, "),
    *("{/**/", "\ufeff{", "\f{", "\0{"),
)


def in_object(topic: str, body: str) -> str:
    """An envelope whose message is no text but stands in it as it is."""
    return message(topic, {}).replace('"value": {}', f'"value": {body}')


def test_c27_a_line_is_one_object_and_nothing_else() -> None:
    one, other = bpm(1, 60), bpm(2, 70)
    broken = [f"{one}{other}", f"{one}, {other}", f"{one} x", f"{one}}}", f"[{one}]", "null", "5"]
    found = work_out([*broken, f" \t{other} \t"])
    assert accounts(found, "unknown") == (7, 0, 0, 7, 0, 0)
    assert accounts(found, "heart_rates") == (1, 1, 0, 0, 0, 0)
    assert found.table_counts[KAFKA_MULTIPLEX]["events_in"] == 8


def test_c27_a_message_is_one_object_and_nothing_else() -> None:
    one = JSON_OF_A_READING
    texts = [one + one, f"{one},{one}", f"{one} x", f"[{one}]", json.dumps(one), "5", "null", ""]
    lines = [message("bpm", value) for value in (*texts, 5, 5.0, True, [json.loads(one)])]
    found = work_out([*lines, message("bpm", f"\r\n\t {one}\n"), in_object("bpm", one)])
    assert accounts(found, "heart_rates") == (14, 1, 1, 12, 0, 0)
    assert accounts(found, "unknown") == (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("start", NO_JSON)
def test_c27_only_json_is_read(start: str) -> None:
    body = start + JSON_OF_A_READING.removeprefix("{")
    assert refused(work_out([message("bpm", body)]), "heart_rates") == (1, 0)
    assert refused(work_out([in_object("bpm", body)]), "unknown") == (1, 0)


def test_c27_of_a_repeated_field_the_last_counts() -> None:
    body = JSON_OF_A_READING.replace("}", ', "heartrate": 70, "Heartrate": 80}')
    body = body.replace(str(DAY), f"{clock('12:10')}")
    for line in (message("bpm", body), in_object("bpm", body)):
        twice = line.replace('"topic"', '"topic": "steps", "topic"')
        found = work_out([*workout("12:00", "12:30"), twice])
        assert bpm_figures(found.workout_bpm_summary[0]) == (1, 0, 70, 70, 70)


def without(line: str, *names: str) -> str:
    return json.dumps({name: of for name, of in json.loads(line).items() if name not in names})


def test_c28_an_absent_value_deletes_nothing() -> None:
    change = profile(1, "new", 100)
    renamed = profile(1, "update", 200).replace('"value"', '"Value"')
    found = work_out([change, without(change, "value"), renamed, without(bpm(1, 60), "value")])
    assert found.current_users == 1
    assert accounts(found, "profile_changes") == (1, 1, 0, 0, 0, 0)
    assert accounts(found, "unknown") == (3, 0, 0, 3, 0, 0)
    tombstone = message("user_info", None, key="1", when=DAY + 200)
    found = work_out([change, tombstone])
    deleted_at = datetime(2023, 3, 11, 0, 3, 20, tzinfo=UTC)
    assert picked(found.profile_versions[1], "valid_from", "is_deleted") == (deleted_at, True)
    assert refused(found, "unknown") == (0, 0)


def test_c28_what_else_an_envelope_lacks_is_a_field_reject_of_the_line() -> None:
    others = ("key", "partition", "offset", "timestamp")
    for lacking in (*((name,) for name in others), others):
        found = work_out([without(bpm(1, 60), *lacking)])
        assert accounts(found, "heart_rates") == (1, 1, 0, 0, 0, 0)
        assert accounts(found, "unknown") == (0, 0, 0, 0, 1, 0)
    for lacking in (("topic",), ("topic", "key"), ("value", "key")):
        found = work_out([without(bpm(1, 60), *lacking)])
        assert accounts(found, "unknown") == (1, 0, 0, 1, 0, 0)
        assert accounts(found, "heart_rates") == (0, 0, 0, 0, 0, 0)
    found = work_out([without(message("user_info", None, key="1"), "key")])
    assert accounts(found, "profile_changes") == (1, 0, 0, 1, 0, 0)
    assert accounts(found, "unknown") == (0, 0, 0, 0, 1, 0)
    # A null in so many words is not absent.
    assert refused(work_out([message("bpm", JSON_OF_A_READING, key=None)]), "unknown") == (0, 0)


def change_of(value: dict[str, object], *lacking: str) -> Answers:
    """What comes of one update with other fields, or without some."""
    whole = json.loads(json.loads(profile(1, "update", 100))["value"])
    body = {name: of for name, of in (whole | value).items() if name not in lacking}
    return work_out([message("user_info", json.dumps(body))])


def test_c29_absent_fields_of_a_profile_are_one_field_reject() -> None:
    found = change_of({}, "dob", "gender", "first_name", "last_name")
    assert accounts(found, "profile_changes") == (1, 1, 0, 0, 1, 0)
    names = ("dob", "sex", "gender", "first_name", "city", "zip")
    kept = (None, "M", None, None, "Bay", "90000")
    assert picked(found.profile_versions[0], *names) == kept
    for name in ("dob", "sex", "gender", "first_name", "last_name", "address"):
        assert refused(change_of({}, name), "profile_changes") == (0, 1)
        assert refused(change_of({name: None}), "profile_changes") == (0, 0)
        assert refused(change_of({name.title(): None}, name), "profile_changes") == (0, 1)


def test_c29_misshapen_fields_of_a_profile_are_null_and_one_field_reject() -> None:
    broken: dict[str, object] = {"first_name": {"en": "A"}, "last_name": ["Z"], "dob": "1964"}
    found = change_of(broken, "sex")
    assert accounts(found, "profile_changes") == (1, 1, 0, 0, 1, 0)
    names = ("first_name", "last_name", "dob", "sex", "gender")
    assert picked(found.profile_versions[0], *names) == (None, None, None, None, "M")
    found = change_of({"first_name": True, "last_name": 5, "sex": "", "dob": "03/11/1998"})
    assert refused(found, "profile_changes") == (0, 0)
    assert picked(found.profile_versions[0], "first_name", "last_name") == ("true", "5")


@pytest.mark.parametrize(
    ("address", "city", "field_rejects"),
    [
        (None, None, 0),
        ({}, None, 0),
        ({"city": "Ulm"}, "Ulm", 0),
        ({"city": None, "zip": 53111}, None, 0),
        ({"city": 7}, "7", 0),
        ({"city": ["Ulm"]}, None, 1),
        ('{"city": "Ulm"}', None, 1),
        ("Ulm", None, 1),
        ([{"city": "Ulm"}], None, 1),
        (5, None, 1),
        (True, None, 1),
    ],
)
def test_c29_an_address_is_an_object(address: object, city: str | None, field_rejects: int) -> None:
    found = change_of({"address": address})
    assert accounts(found, "profile_changes") == (1, 1, 0, 0, field_rejects, 0)
    assert picked(found.profile_versions[0], "first_name", "city") == ("A", city)


def test_c29_a_delete_needs_only_its_user_and_time() -> None:
    needs = {"user_id": 1, "update_type": "delete", "timestamp": DAY}
    found = work_out([message("user_info", json.dumps(needs))])
    assert accounts(found, "profile_changes") == (1, 1, 0, 0, 0, 0)
    assert [row["is_deleted"] for row in found.profile_versions] == [True]
    misshapen = message("user_info", json.dumps(needs | {"first_name": {}}))
    assert refused(work_out([misshapen]), "profile_changes") == (0, 1)


def test_c29_what_an_event_cannot_do_without_is_a_row_reject() -> None:
    bodies: dict[str, dict[str, object]] = {
        "user_info": {"user_id": 1, "update_type": "delete", "timestamp": DAY},
        "workout": {"user_id": 1, "workout_id": 1, "session_id": 1, "timestamp": DAY}
        | {"action": "start"},
        "bpm": {"device_id": 7, "time": DAY, "heartrate": 60},
    }
    entities = {"user_info": "profile_changes", "workout": "workout_events", "bpm": "heart_rates"}
    for topic, body in bodies.items():
        assert refused(work_out([message(topic, body)]), entities[topic]) == (0, 0)
        for name in body.keys() - {"heartrate"}:
            wrong = [{**body, name: of} for of in (None, {}, [body[name]], {"a": body[name]})]
            lacking = {key: of for key, of in body.items() if key != name}
            lines = [message(topic, one) for one in (*wrong, lacking)]
            assert refused(work_out(lines), entities[topic]) == (5, 0)


def test_c29_a_reading_without_a_rate_is_kept_as_invalid() -> None:
    body: dict[str, object] = {"device_id": 7, "time": clock("12:10")}
    rates = [({"heartrate": None}, 0), ({"heart_rate": 60}, 1), ({"heartrate": [60]}, 1)]
    for rate, field_rejects in rates:
        found = work_out([*workout("12:00", "12:30"), message("bpm", body | rate)])
        assert bpm_figures(found.workout_bpm_summary[0]) == (0, 1, None, None, None)
        assert accounts(found, "heart_rates") == (1, 1, 0, 0, field_rejects, 0)


@pytest.mark.parametrize(
    ("text", "is_read"),
    [
        ("1.793494980E9", True),
        ("1.79349498E9", False),
        ("1.79349E+09", False),
        ("179349498e1", False),
        (".1793494980e10", True),
        ("17934949800e-1", True),
        ("1793494980e0", True),
        ("1.793494980E12", True),  # to the second, told in milliseconds
        ("1.79349498E12", False),
        ("1.79349E+12", False),
        ("1.79349498012e12", True),
        ("1793494980e3", True),
        ("179349498e4", False),
    ],
)
def test_c30_digits_reach_the_second(text: str, is_read: bool) -> None:
    if is_read:
        assert abs(instant(text) - 1_793_494_980_000_000) < 1_000_000
    else:
        with pytest.raises(UnreadableError, match="too few digits"):
            instant(text)


def test_c30_only_where_the_text_is_known_do_its_digits_count() -> None:
    rounded = JSON_OF_A_READING.replace(str(DAY), "1.67841e+09")
    quoted = rounded.replace("1.67841e+09", '"1.67841e9"')
    lines = [message("bpm", rounded), message("bpm", quoted), in_object("bpm", quoted)]
    assert accounts(work_out(lines), "heart_rates")[:4] == (3, 0, 0, 3)
    of_java = rounded.replace("1.67841e+09", "1.67841E9")
    lines = [message("bpm", of_java), in_object("bpm", of_java), in_object("bpm", rounded)]
    assert accounts(work_out(lines), "heart_rates")[:4] == (3, 1, 2, 0)
    tombstone = message("user_info", None, key="1").replace(f": {DAY}", ": 1.67841e9")
    assert accounts(work_out([tombstone]), "profile_changes")[:4] == (1, 1, 0, 0)


def test_c30_numbers_are_bounded_before_they_are_read() -> None:
    assert instant(f" 1678410000.{'0' * 29} ") == 1_678_410_000_000_000  # 40 characters
    assert instant("1678410000e00") == 1_678_410_000_000_000
    with pytest.raises(UnreadableError):
        instant(f"1678410000.{'0' * 30}")
    with pytest.raises(UnreadableError):
        instant(f"2023-03-10T01:00:00.{'0' * 20}Z")
    rates = [f"80.{'0' * 37}", f"80.{'0' * 38}", "8e01", "8e001", "1e-999999999"]
    found = work_out([*workout("00:00", "01:00"), *(bpm(n, of) for n, of in enumerate(rates, 1))])
    assert bpm_figures(found.workout_bpm_summary[0]) == (2, 3, 80, 80, 80)
    assert accounts(found, "heart_rates") == (5, 5, 0, 0, 3, 0)
    ids = [registration(1, f"{7:0{length}}", 1) for length in (40, 41)]
    assert accounts(work_out(registrations=ids), "registrations")[:4] == (2, 1, 0, 1)


def test_c30_of_a_number_in_an_envelope_the_double_counts() -> None:
    long_time, no_rate = f"1678410000.{'0' * 40}", "1e-400"  # 1678410000.0 and 0.0
    body = JSON_OF_A_READING.replace(str(DAY), long_time).replace("60", no_rate)
    assert accounts(work_out([in_object("bpm", body)]), "heart_rates") == (1, 1, 0, 0, 0, 0)
    assert accounts(work_out([message("bpm", body)]), "heart_rates") == (1, 1, 0, 0, 0, 0)


def test_c30_no_time_is_before_the_earliest() -> None:
    # 2000-01-01 is 10,957 days after 1970-01-01.
    first, before = "946684800", "946684799.999999"
    lines = [
        line
        for when in (first, before, "0", "-0")
        for line in (
            profile(1, "new", when),
            message("user_info", None, key="2", when=when),
            event("start", when),
            bpm(when, 60),
        )
    ]
    visits = [visit(first), visit(before), visit("0", DAY), visit(DAY, before)]
    owners = [registration(1, 7, first), registration(1, 7, before)]
    found = work_out(lines, visits, owners)
    assert accounts(found, "profile_changes")[:4] == (8, 2, 0, 6)
    assert accounts(found, "workout_events")[:4] == (4, 1, 0, 3)
    assert accounts(found, "heart_rates")[:4] == (4, 1, 0, 3)
    assert accounts(found, "registrations")[:4] == (2, 1, 0, 1)
    assert accounts(found, "gym_logins") == (4, 2, 0, 2, 1, 0)
    assert [picked(row, "status", "minutes_in_gym") for row in found.gym_visits] == [
        ("open", None)
    ] * 2
    anything = datetime(1970, 1, 1, tzinfo=UTC)
    found = answers(Deliveries(gym_logins=visits), earliest=anything)
    assert accounts(found, "gym_logins") == (4, 4, 0, 0, 0, 0)


def test_small_inputs_of_public_reports() -> None:
    if not CASES.is_dir():
        pytest.skip(f"the cases are not at {CASES}")
    paths = {
        REGISTERED_USERS: [CASES / "base-registered.csv"],
        GYM_LOGINS: [path for path in CASES.glob("*.csv") if path.stem != "base-registered"],
        KAFKA_MULTIPLEX: list(CASES.glob("*.json")),
    }
    found = answers(read_deliveries(paths), now=datetime(2026, 11, 2, tzinfo=UTC))
    counts = {entity: accounts(found, entity) for entity in found.entity_counts}
    assert counts == {
        "registrations": (40, 40, 0, 0, 0, 0),
        "gym_logins": (46, 42, 0, 4, 1, 0),  # one logout is of 2100
        "profile_changes": (45, 45, 0, 0, 4, 0),
        "workout_events": (81, 80, 0, 1, 0, 0),
        "gym_events": (0, 0, 0, 0, 0, 0),
        "heart_rates": (88, 86, 0, 2, 2, 0),
        "unknown": (4, 0, 0, 4, 0, 0),
    }
    assert found.current_users == 39
    assert max(row["minutes_in_gym"] or 0 for row in found.gym_summary) == Decimal("50.00")


def test_rejected_rows() -> None:
    rows = [
        *("1,7", registration("7.0", 7, 1), registration(1, "x", 1), registration(1, 7, "soon")),
        *(registration(1, 7, 1, "02:00"), registration(" 1 ", " 7", 1, f" {MAC.upper()} ")),
    ]
    assert accounts(work_out(registrations=rows), "registrations")[:4] == (6, 1, 0, 5)
    visits = ["x", visit("soon"), visit(1, gym="x"), visit(1, mac="x"), visit(1, "never"), visit(1)]
    found = work_out(visits=visits)
    assert accounts(found, "gym_logins") == (6, 1, 1, 4, 1, 0)
    assert [row["status"] for row in found.gym_visits] == ["open"]
    lines = [
        *("{", "[]", '"text"', message("steps", {}), message("Bpm", {})),
        *(message("bpm", None), message("bpm", "{"), message("bpm", [1]), message("workout", None)),
        *(profile(1, "merge", 1), profile(1, "New ", 1), message("user_info", "5")),
        *(message("user_info", None, key="x"), event("pause", 1), event(" START", 1)),
    ]
    found = work_out(lines)
    assert refused(found, "unknown") == (5, 0)
    assert refused(found, "heart_rates") == (3, 0)
    assert accounts(found, "workout_events")[:4] == (3, 1, 0, 2)
    assert accounts(found, "profile_changes")[:4] == (4, 1, 0, 3)
    table = found.table_counts[KAFKA_MULTIPLEX]
    assert (table["events_in"], table["row_rejects"]) == (15, 13)


def test_plain_is_what_json_has() -> None:
    found = work_out([*workout("12:00", "12:30"), bpm(clock("12:10"), 80.1)], [visit(1000, 5500)])
    read = found.plain()
    assert json.loads(json.dumps(read)) == read
    assert read["workout_bpm_summary"][0]["started_at"] == "2023-03-11T12:00:00.000000Z"
    assert read["workout_bpm_summary"][0]["date"] == "2023-03-11"
    assert read["workout_bpm_summary"][0]["avg_bpm"] == 80.1
    assert read["gym_summary"][0]["minutes_in_gym"] == "75.00"


# --- gyms that tell single events (C31)


IN, OUT = partial(passing, "login"), partial(passing, "logout")
Visit = tuple[float, float | None, str]


def visits_of(found: Answers) -> list[Visit]:
    """Login and logout, in seconds of the day, and status of each visit."""
    return [
        (
            row["login_at"].timestamp() - DAY,
            row["logout_at"] and row["logout_at"].timestamp() - DAY,
            row["status"],
        )
        for row in found.gym_visits
    ]


@pytest.mark.parametrize(
    ("events", "visits"),
    [
        ([IN(1000), OUT(5500)], [(1000, 5500, "closed")]),
        ([OUT(5500), IN(1000), OUT(5500), IN(1000)], [(1000, 5500, "closed")]),
        ([IN(1000), IN(1300), OUT(5500)], [(1000, 5500, "closed")]),
        ([IN(1000), OUT(5500), OUT(5600)], [(1000, 5600, "closed")]),
        ([OUT(5500)], []),
        ([IN(1000), IN(5500), OUT(5500)], [(1000, 5500, "closed"), (5500, None, "open")]),
        ([IN(1000), IN(44_200)], [(1000, None, "open")]),
        (
            [IN(1000), IN(44_201), IN(50_000), OUT(60_000)],
            [(1000, None, "open"), (44_201, 60_000, "closed")],
        ),
        ([IN(1000), OUT(50_000), OUT(50_001)], [(1000, 50_000, "closed")]),
        ([IN(1000), OUT(2000, gym=2), OUT(3000, mac="02:00:00:00:00:02")], [(1000, None, "open")]),
    ],
)
def test_c31_events_are_paired(events: list[str], visits: list[Visit]) -> None:
    found = work_out(events)
    assert visits_of(found) == visits
    assert accounts(found, "gym_events") == (
        *(len(events), len(set(events)), len(events) - len(set(events))),
        *(0, 0, 0),
    )


@pytest.mark.parametrize(
    ("events", "rows", "visits"),
    [
        ([IN(1000), OUT(5500)], [visit(1000, 5500)], [(1000, 5500, "closed")]),
        ([OUT(5500)], [visit(1000)], [(1000, 5500, "closed")]),
        ([IN(1000)], [visit(1100, 5500)], [(1000, 5500, "closed"), (1100, 5500, "closed")]),
        ([OUT(5600)], [visit(1000, 5500)], [(1000, 5600, "closed")]),
        # Rows alone are told as they are.
        (
            [IN(9000)],
            [visit(1000, 3000), visit(2000, 4000), visit(2500, 2400)],
            [
                *((1000, 3000, "closed"), (2000, 4000, "closed"), (2500, 2400, "incomplete")),
                (9000, None, "open"),
            ],
        ),
    ],
)
def test_c31_events_and_rows_may_be_mixed(
    events: list[str], rows: list[CsvRow], visits: list[Visit]
) -> None:
    assert visits_of(work_out(events, rows)) == visits


def test_c31_events_give_the_summary_that_rows_give() -> None:
    exercise = [*workout("10:05", "10:25"), *workout("10:30", "10:50", session=2)]
    events = [IN(clock("10:00")), OUT(clock("11:00"))]
    rows = [visit(clock("10:00"), clock("11:00"))]
    told = [work_out([*exercise, *events]), work_out(exercise, rows)]
    for found in (*told, work_out([*exercise, *events], rows)):
        assert minutes(found.gym_summary[0]) == ("60.00", "40.00")
        assert found.gym_summary == told[0].gym_summary
        assert found.gym_visits == told[0].gym_visits


def test_c31_events_that_cannot_be_read_are_refused() -> None:
    told = {"mac_address": MAC, "gym": 1, "action": "login", "time": DAY}
    wrong = ({"mac_address": None}, {"gym": "x"}, {"action": "start"}, {"time": 0}, {"time": "x"})
    events = [message("gym", told | field) for field in wrong]
    found = work_out([*events, message("gym", None), message("gym", told | {"action": " LOGIN"})])
    assert accounts(found, "gym_events") == (7, 1, 0, 6, 0, 0)


# --- rows pulled from a database


def saw(pull: int, key: str, row: CsvRow | None) -> Pulled:
    return Pulled(pull, key, row is None, row or {})


A, B = registration(1, 7, 100), registration(2, 7, 100)


@pytest.mark.parametrize(
    ("pulls", "users", "accepted"),
    [
        ([A, B, A], [1], 3),  # O6
        ([A, None, A], [1], 3),
        ([A, None, None], [], 2),
        ([A, A, A], [1], 1),
        ([None], [], 1),
        ([A, registration(1, 7, 100, mac="x"), None], [], 2),
        ([A, registration(1, 7, 100, mac="x"), A], [1], 2),
    ],
)
def test_the_last_pull_of_a_key_counts(
    pulls: list[CsvRow | None], users: list[int], accepted: int
) -> None:
    saws = [saw(number, "k", row) for number, row in enumerate(pulls)]
    for order in permutations(saws):
        exercise = [*workout("10:00", "11:00"), *workout("10:00", "11:00", user=2)]
        beat = bpm(clock("10:30"), 80)
        found = answers(Deliveries(messages=[*exercise, beat], pulled_registrations=order))
        measured = [row["user_id"] for row in found.workout_bpm_summary if row["num_readings"]]
        assert measured == users
        assert accounts(found, "registrations")[:2] == (len(pulls), accepted)


def test_what_a_pull_told_decides_where_a_file_told_it_too() -> None:
    rows = [visit(1000, 5500, gym) for gym in (1, 2, 3)]
    pulled = [
        *(saw(1, "1", visit(1000, 5500, 1)), saw(2, "1", None)),
        *(saw(1, "2", visit(1000, 6000, 2)), saw(2, "2", visit(1000, 4600, 2))),
        *(saw(1, "4", visit(1000, 5500, 4)), saw(2, "4", visit(1060, 5500, 5))),
    ]
    found = answers(Deliveries(gym_logins=rows, pulled_gym_logins=pulled))
    assert [picked(row, "gym", "minutes_in_gym") for row in found.gym_visits] == [
        (2, Decimal("60.00")),
        (3, Decimal("75.00")),
        (5, Decimal("74.00")),
    ]
    assert accounts(found, "gym_logins") == (9, 9, 0, 0, 0, 0)


def test_the_files_of_pulls_are_read() -> None:
    seen = [
        visit(1000, 5500) | {"_pull_id": 1, "_pull_key": "1", "_op": "upsert"},
        visit(1000, gym=2) | {"_pull_id": 1, "_pull_key": "2", "_op": "upsert", "logout": None},
        {"_pull_id": 2, "_pull_key": "1", "_op": "delete"},
    ]
    names = {"_pulled_at": None} | dict.fromkeys(seen[1])
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([names | row for row in seen]), content)
    file = content.getvalue()
    found = answers(read_contents({f"{GYM_LOGINS}.pulled": [("1", file), ("again", file)]}))
    assert [picked(row, "gym", "status") for row in found.gym_visits] == [(2, "open")]
    assert accounts(found, "gym_logins")[:2] == (3, 3)
