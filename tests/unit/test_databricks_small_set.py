"""The small set's answers, worked out by hand, against those of the oracle."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from lakehouse.settings import PROJECT
from tests.oracle.wearables import marts

sys.path.insert(0, str(PROJECT / "deploy" / "databricks"))
from small_set import files_of, midnight_before, questions_of

NOW = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
NUMBERS = (1, 1772415000, 2**31 - 1)


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    """The answers to the sets of several people, delivered together."""
    contents: dict[str, list[tuple[str, bytes]]] = {}
    for number in NUMBERS:
        for table, file in files_of(number, midnight_before(NOW)).items():
            contents.setdefault(table, []).append(file)
    return marts.answers(marts.read_contents(contents), now=NOW).plain()


@pytest.mark.parametrize("number", NUMBERS)
def test_the_answers_are_those_of_the_oracle(plain: dict[str, Any], number: int) -> None:
    workouts, gyms = questions_of(number, midnight_before(NOW), "lakehouse_test")
    [workout] = [row for row in plain["workout_bpm_summary"] if row["user_id"] == number]
    names = ("date", "workout_id", "session_id", "sex", "city", "state")
    names += ("min_bpm", "avg_bpm", "max_bpm", "num_readings", "num_invalid")
    assert [_text_of(workout[name]) for name in names] == workouts.row
    [gym] = [row for row in plain["gym_summary"] if row["user_id"] == number]
    assert f"'{gym['mac_address']}'" in gyms.sql
    names = ("date", "gym", "minutes_in_gym", "minutes_exercising", "visits")
    assert [_text_of(gym[name]) for name in names] == gyms.row


def test_nobody_is_met_twice_and_nothing_is_ahead_of_a_clock(plain: dict[str, Any]) -> None:
    assert len(plain["workout_bpm_summary"]) == len(plain["gym_summary"]) == len(NUMBERS)
    assert midnight_before(NOW) == datetime(2026, 2, 28, tzinfo=UTC)
    assert not [row for row in plain["gym_summary"] if row["date"] > "2026-03-01"]


def _text_of(value: Any) -> str:
    """As the questions ask for it: numbers as whole ones."""
    return str(int(value)) if isinstance(value, float) else str(value).removesuffix(".00")
