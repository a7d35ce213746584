"""Late, tied, deleted, returned and repeated events over four loads, each built as it comes.

After every load the gold and the history equal what plain Python makes of all that has come so far.
Times are seconds after 2023-03-11 00:00, as in the cases.
"""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.oracle.wearables.marts import Answers, answers, read_contents
from tests.support.lakehouse import Lakehouse, plain

# In `make test` each case is a unit test of its model, and halves of stories come late as a whole.
pytestmark = pytest.mark.deep

CSV_HEADERS = {
    "sbit.registered_users": "user_id,device_id,mac_address,registration_timestamp",
    "sbit.gym_logins": "mac_address,gym,login,logout",
}
DAY = 1_678_492_800  # 2023-03-11T00:00:00Z
# The changes of one user in four batches; every order of the batches gets a user of its own.
CHANGES = {
    "first": [("new", 100, "Ada")],
    "tie": [("update", 500, "Bea"), ("update", 500, "Cleo"), ("new", 500, "Dora")],
    "end": [("delete", 800, None), ("update", 500, "Bea")],
    "late": [("update", 300, "Eve"), ("update", 900, "Fay"), ("new", 1000, "Gil")],
}
ORDERS = list(itertools.permutations(CHANGES))


def mac(number: int) -> str:
    return f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"


def registration(user: int, device: int, at: int) -> tuple[str, str]:
    return "sbit.registered_users", f"{user},{device},{mac(device)},{DAY + at}"


def login(device: int, gym: int, at: int, until: int | None = None) -> tuple[str, str]:
    logout = "" if until is None else DAY + until
    return "sbit.gym_logins", f"{mac(device)},{gym},{DAY + at},{logout}"


def message(topic: str, key: int, at: float, value: dict[str, object]) -> tuple[str, str]:
    envelope = {"key": str(key), "value": json.dumps(value), "topic": topic, "partition": 0}
    return "sbit.kafka_multiplex", json.dumps(envelope | {"offset": 1, "timestamp": DAY + int(at)})


def workout(user: int, session: int, action: str, at: int) -> tuple[str, str]:
    value = {"user_id": user, "workout_id": 1, "session_id": session}
    return message("workout", user, at, value | {"action": action, "timestamp": DAY + at})


def reading(device: int, at: float, bpm: float | None) -> tuple[str, str]:
    value = {"device_id": device, "time": DAY + at, "heartrate": bpm}
    return message("bpm", device, at, value)


def gym_event(device: int, gym: int, action: str, at: int) -> tuple[str, str]:
    value = {"mac_address": mac(device), "gym": gym, "action": action, "time": DAY + at}
    return message("gym", device, at, value)


def profile(user: int, change: str, at: float, name: str | None) -> tuple[str, str]:
    value = {"user_id": user, "update_type": change, "timestamp": DAY + at, "dob": "02/02/1950"}
    address = {"street_address": "1 Road", "city": f"{name}ville", "state": "CA", "zip": 90001}
    return message(
        "user_info", user, at, value | {"sex": "F", "first_name": name, "address": address}
    )


def rounds() -> Iterator[list[tuple[str, str]]]:
    """What the four loads bring: the cases of the right answers, and all orders of the changes."""
    cases = [
        [
            profile(1, "new", 100, "A"),  # C4
            *(registration(101, 1101, 200), workout(101, 1, "start", 1000)),  # C5
            *(registration(106, 1106, 0), login(1106, 61, 1000)),  # C6
            *(registration(108, 1108, 50), workout(108, 1, "start", 1000)),  # C8
            *(workout(108, 1, "stop", 2000), reading(1108, 1010, 60), reading(1108, 1020, 80)),
            profile(110, "new", 1, "X"),  # C10
            workout(115, 1, "stop", 1800),  # C15 (f)
            *(registration(191, 1190, 100), workout(191, 1, "start", 1000)),  # C19
            *(workout(191, 1, "stop", 3000), workout(192, 1, "start", 1000)),
            *(workout(192, 1, "stop", 3000), reading(1190, 1500, 70), reading(1190, 2000, 90)),
            *(reading(1190, 2500, 110), reading(1777, 1500, 75)),
            *(gym_event(1131, 65, "logout", 5500), gym_event(1131, 66, "login", 1000)),  # C31
            login(1131, 67, 1000),
        ],
        [
            profile(9, "new", 900, "Z"),
            *(registration(102, 1102, 100), registration(103, 1103, 300)),
            *(workout(user, 1, "stop", 1600) for user in (101, 102, 103)),
            *(workout(user, 1, "start", 1000) for user in (102, 103)),
            *(reading(device, 1100, 65) for device in (1101, 1102, 1103)),
            login(1106, 61, 1000, 5500),
            *(reading(1108, 1030, 100), reading(1108, 1040, 120), reading(1108, 1010, 60)),
            profile(110, "delete", 2, None),
            workout(115, 1, "start", 600),
            *(gym_event(1131, 65, "login", 1000), gym_event(1131, 66, "login", 1300)),
            *(gym_event(1131, 66, "logout", 5500), gym_event(1131, 67, "logout", 4600)),
        ],
        [
            profile(1, "update", 150, "B"),
            profile(110, "update", 1.5, "Y"),
            registration(192, 1190, 2000),
            *(login(1190, 62, 900, 3100), login(1190, 62, 2000, 3200)),
            reading(1108, 1020, 81),
            *(login(1131, 65, 1000, 5500), gym_event(1131, 65, "login", 1000)),
            gym_event(1131, 66, "login", 700),
        ],
        [
            profile(110, "new", 4, "X"),
            login(1106, 61, 1000, 4000),
            registration(177, 1777, 5000),
            *(workout(177, 1, "start", 1400), workout(177, 1, "stop", 1600)),
            *(gym_event(1131, 66, "logout", 1000), login(1131, 67, 1000, 4000)),
        ],
    ]
    for number, case in enumerate(cases):
        orders = [
            profile(2000 + user, change, at, name)
            for user, order in enumerate(ORDERS)
            for change, at, name in CHANGES[order[number]]
        ]
        yield case + orders


class Story:
    """Delivers the loads one by one, builds each, and keeps what plain Python expects."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self.lakehouse = lakehouse
        self.delivered: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
        self.seen: list[dict[str, object]] = []

    def play(self, number: int, rows: list[tuple[str, str]]) -> Answers:
        lines: dict[str, list[str]] = defaultdict(list)
        for table, line in rows:
            lines[table].append(line)
        for table, content in lines.items():
            header = [CSV_HEADERS[table]] if table in CSV_HEADERS else []
            text = "".join(f"{line}\n" for line in header + content).encode()
            self.delivered[table].append((f"{number}", text))
            self.lakehouse.deliver(table, f"{number}", text)
        self.lakehouse.ingest()
        self.lakehouse.build_untested()
        return answers(read_contents(self.delivered))


@pytest.fixture(scope="module")
def story(lakehouse: Lakehouse) -> Story:
    told = Story(lakehouse)
    for number, rows in enumerate(rounds()):
        expected = told.play(number, rows)
        told.seen.append(
            {
                "gold": lakehouse.gold("gold_build"),
                "expected": expected.plain(),
                "history": history(lakehouse),
                "bpm": {
                    row["user_id"]: row
                    for row in lakehouse.rows("select * from gold_build.workout_bpm_summary")
                },
                "visits": {
                    row["gym"]: row
                    for row in lakehouse.rows("select * from gold_build.gym_summary")
                },
                "current": {
                    row["user_id"]: row["first_name"]
                    for row in lakehouse.rows("select * from silver.dim_users_current")
                },
            }
        )
    return told


def history(lakehouse: Lakehouse) -> list[dict[str, object]]:
    return plain(
        lakehouse.rows(
            "select user_id, valid_from, if(is_current, null, valid_to) as valid_to, is_deleted, "
            "born_on as dob, sex, gender, first_name, last_name, street_address, city, state, zip "
            "from silver.dim_users"
        )
    )


@pytest.mark.parametrize("number", range(4))
def test_the_gold_is_right_after_every_load(story: Story, number: int) -> None:
    seen = story.seen[number]
    for mart, rows in seen["gold"].items():
        assert rows == sorted(seen["expected"][mart], key=repr), mart


@pytest.mark.parametrize("number", range(4))
def test_the_history_is_the_fold_of_all_changes_in_every_order(story: Story, number: int) -> None:
    seen = story.seen[number]
    assert seen["history"] == sorted(seen["expected"]["profile_versions"], key=repr)


def test_every_order_of_the_changes_ends_in_the_same_history(story: Story) -> None:
    histories = defaultdict(list)
    for row in story.seen[3]["history"]:
        if row["user_id"] >= 2000:
            histories[row["user_id"]].append(
                (row["valid_from"][14:19], row["is_deleted"], row["first_name"])
            )
    assert len(histories) == len(ORDERS) == 24
    names = {tuple(versions) for versions in map(sorted, histories.values())}
    # The tie at 500 s goes to the update with the smaller hash; 900 s revives nothing.
    [versions] = names
    assert [(at, deleted) for at, deleted, _ in versions] == [
        ("01:40", False),
        ("05:00", False),
        ("08:20", False),
        ("13:20", True),
        ("15:00", True),
        ("16:40", False),
    ]
    assert [name for _, _, name in versions][3:] == [None, None, "Gil"]
    assert versions[2][2] in ("Bea", "Cleo")


def test_c4_a_late_profile_change_wins(story: Story) -> None:
    assert story.seen[1]["current"][1] == "A"
    assert story.seen[2]["current"][1] == "B"


def test_c5_late_registrations_bring_their_workouts(story: Story) -> None:
    assert [story.seen[1]["bpm"][user]["num_readings"] for user in (101, 102, 103)] == [1, 1, 1]


def test_c6_an_open_visit_closes_and_the_later_logout_stays(story: Story) -> None:
    assert story.seen[0]["visits"][61]["minutes_in_gym"] is None
    assert story.seen[0]["visits"][61]["open_visits"] == 1
    assert str(story.seen[1]["visits"][61]["minutes_in_gym"]) == "75.00"
    assert str(story.seen[3]["visits"][61]["minutes_in_gym"]) == "75.00"


def test_c31_visits_told_by_late_and_repeated_events(story: Story) -> None:
    minutes = [
        {
            gym: (str(row["minutes_in_gym"]), row["visits"])
            for gym, row in seen["visits"].items()
            if gym in (65, 66, 67)
        }
        for seen in story.seen
    ]
    assert minutes[0] == {66: ("None", 1), 67: ("None", 1)}
    assert minutes[1] == {65: ("75.00", 1), 66: ("75.00", 1), 67: ("60.00", 1)}
    assert minutes[2] == {65: ("75.00", 1), 66: ("80.00", 1), 67: ("60.00", 1)}
    # From 700 s to the logout at 1,000 s, and from the login of that second to 5,500 s.
    assert minutes[3] == {65: ("75.00", 1), 66: ("80.00", 2), 67: ("60.00", 1)}


def test_c8_readings_in_two_batches_make_one_average(story: Story) -> None:
    row = story.seen[1]["bpm"][108]
    assert (row["num_readings"], row["avg_bpm"], row["max_bpm"]) == (4, 90.0, 120.0)
    assert story.seen[2]["bpm"][108]["avg_bpm"] == 90.25  # 81 beats 80 in the same second (C3)


def test_c10_nothing_but_new_revives(story: Story) -> None:
    assert story.seen[0]["current"][110] == "X"
    assert 110 not in story.seen[1]["current"]
    assert 110 not in story.seen[2]["current"]
    assert story.seen[3]["current"][110] == "X"


def test_c15_a_stop_before_its_start_arrives_is_paired(story: Story) -> None:
    assert 115 not in story.seen[0]["bpm"]
    row = story.seen[1]["bpm"][115]
    assert (row["ended_at"] - row["started_at"]).total_seconds() == 1200


def test_c19_each_reading_belongs_to_its_owner_of_that_moment(story: Story) -> None:
    assert story.seen[1]["bpm"][191]["num_readings"] == 3
    assert story.seen[1]["bpm"][192]["num_readings"] == 0
    # From 2,000 s on, and at that very second, the watch is the second user's.
    assert (story.seen[2]["bpm"][191]["num_readings"], story.seen[2]["bpm"][191]["avg_bpm"]) == (
        1,
        70,
    )
    assert (story.seen[2]["bpm"][192]["num_readings"], story.seen[2]["bpm"][192]["avg_bpm"]) == (
        2,
        100,
    )


def test_readings_wait_for_their_device(story: Story) -> None:
    assert story.lakehouse.num_unmatched_readings() == 0
    assert story.seen[3]["bpm"][177]["num_readings"] == 1


def test_building_again_changes_no_row(story: Story) -> None:
    def fingerprint() -> list[object]:
        return [
            story.lakehouse.value(f"select bit_xor(xxhash64(to_json(struct(*)))) from {table}")
            for schema in ("silver", "gold_build", "snapshots")
            for row in story.lakehouse.rows(f"show tables in {schema}")
            for table in [f"{schema}.{row['tableName']}"]
        ]

    before = fingerprint()
    story.lakehouse.build_untested()
    assert fingerprint() == before
