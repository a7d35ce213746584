"""The generator: the same story from the same seed, whatever happens to its delivery."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generators.wearables.story import GeneratedFiles, generate, write
from generators.wearables.tables import KAFKA_MULTIPLEX
from ingestion.home import Home
from tests.oracle.wearables.marts import Answers, Deliveries, answers, read_contents

Line = TypeVar("Line")
TROUBLE = {"late": 0.2, "duplicates": 0.1, "corrupt": 0.05}


@cache
def generated(
    seed: int = 1, late: float = 0, duplicates: float = 0, corrupt: float = 0
) -> GeneratedFiles:
    return generate(seed, minutes=60, users=9, late=late, duplicates=duplicates, corrupt=corrupt)


@cache
def expected(late: float = 0, duplicates: float = 0, corrupt: float = 0) -> Answers:
    return answers(deliveries(generated(1, late, duplicates, corrupt)))


def deliveries(story: GeneratedFiles) -> Deliveries:
    """The lines of the files that the gate must let in."""
    return read_contents(
        {
            table: [of for of in named.items() if f"{table}/{of[0]}" not in story.refused]
            for table, named in story.files.items()
        }
    )


def rows(found: Answers) -> tuple[object, ...]:
    summaries = (found.workout_bpm_summary, found.gym_summary, found.gym_visits)
    return (*summaries, found.workout_sessions, found.unmatched_readings)


def test_same_arguments_same_bytes() -> None:
    assert generated.__wrapped__(1, **TROUBLE) == generated(1, **TROUBLE)
    assert generated(2).files != generated(1).files


def test_size_grows_with_minutes() -> None:
    messages = [len(deliveries(generate(1, minutes=length)).messages) for length in (60, 120)]
    assert 30_000 < messages[0] < 60_000
    assert 1.8 < messages[1] / messages[0] < 2.2


@pytest.mark.parametrize("shares", [{}, TROUBLE])
def test_events_in_are_accepted_doubled_or_rejected(shares: dict[str, float]) -> None:
    found = expected(**shares)
    for counts in (*found.entity_counts.values(), *found.table_counts.values()):
        parts = ("accepted", "duplicates", "row_rejects")
        assert counts["events_in"] == sum(counts[part] for part in parts)
        assert min(counts.values()) >= 0
    lines = deliveries(generated(1, **shares))
    assert found.table_counts[KAFKA_MULTIPLEX]["events_in"] == len(lines.messages)


def test_the_story_has_what_the_marts_must_cope_with() -> None:
    found = expected()
    assert {row["status"] for row in found.gym_visits} == {"open", "closed", "incomplete"}
    assert {row["status"] for row in found.workout_sessions} == {"ended", "open", "incomplete"}
    assert {row["is_deleted"] for row in found.profile_versions} == {True, False}
    assert any(row["num_invalid"] for row in found.workout_bpm_summary)
    assert any(not row["num_readings"] for row in found.workout_bpm_summary)
    assert any(row["user_id"] is None for row in found.gym_visits)
    assert found.unmatched_readings > 0
    assert found.entity_counts["heart_rates"]["conflicts"] > 0
    assert all(counts["row_rejects"] == 0 for counts in found.entity_counts.values())


@pytest.mark.parametrize("share", ["late", "duplicates", "corrupt"])
def test_trouble_of_delivery_changes_no_row(share: str) -> None:
    troubled = expected(**{share: TROUBLE[share]})
    assert rows(troubled) == rows(expected())
    assert generated(1, **{share: TROUBLE[share]}).files != generated(1).files


def test_late_and_doubled_events_change_no_profile_and_nothing_accepted() -> None:
    troubled = expected(late=0.2, duplicates=0.1)
    assert troubled.profile_versions == expected().profile_versions
    for entity, counts in expected().entity_counts.items():
        assert troubled.entity_counts[entity]["accepted"] == counts["accepted"]


def test_corrupt_lines_are_rejected_and_corrupt_files_refused() -> None:
    story = generated(1, **TROUBLE)
    found = expected(**TROUBLE)
    assert {
        entity for entity, counts in found.entity_counts.items() if not counts["row_rejects"]
    } == {
        "gym_events"  # it tells none
    }
    with_fields = {name for name, counts in found.entity_counts.items() if counts["field_rejects"]}
    assert with_fields == {"gym_logins", "profile_changes", "heart_rates"}
    wrong_header, cut_off = story.refused
    files = {
        f"{table}/{name}": c for table, named in story.files.items() for name, c in named.items()
    }
    assert not files[wrong_header].startswith(b"mac_address,")
    with pytest.raises(EOFError):
        gzip.decompress(files[cut_off])


@pytest.mark.parametrize("wrong", [{"minutes": 0}, {"users": 0}, {"late": 1.5}, {"corrupt": -0.1}])
def test_arguments_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        generate(1, **wrong)  # type: ignore[arg-type]


def test_the_files_of_the_story_are_written_and_nothing_else(tmp_path: Path) -> None:
    home = Home(tmp_path)
    size = {"minutes": 20, "users": 4}
    delivered = write(home, 1, **size, **TROUBLE)
    assert {path: path.read_bytes() for path in delivered} == {
        home.inbox / table / name: content
        for table, named in generate(1, **size, **TROUBLE).files.items()
        for name, content in named.items()
    }
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(delivered)


@settings(max_examples=20, deadline=None)
@given(order=st.integers(0, 2**32), repeated=st.floats(0, 1))
def test_order_and_repetition_change_nothing(order: int, repeated: float) -> None:
    story = _small()
    random = Random(order)

    def stirred(lines: Sequence[Line]) -> list[Line]:
        more = [*lines, *random.sample(lines, int(repeated * len(lines)))]
        return random.sample(more, len(more))

    again = answers(
        Deliveries(
            stirred(story.registrations),
            stirred(story.gym_logins),
            stirred(story.messages),
        )
    )
    told = answers(story)
    assert rows(again) == rows(told)
    assert again.profile_versions == told.profile_versions
    for entity, counts in told.entity_counts.items():
        for name in ("accepted", "conflicts"):
            assert again.entity_counts[entity][name] == counts[name]


@cache
def _small() -> Deliveries:
    """A story with every twentieth reading, to be quick."""
    whole = deliveries(generated(1, **TROUBLE))
    rates = [line for line in whole.messages if '"topic":"bpm"' in line]
    others = [line for line in whole.messages if '"topic":"bpm"' not in line]
    return Deliveries(whole.registrations, whole.gym_logins, [*others, *rates[::20]])
