"""Made-up data with late, doubled and corrupt events against plain Python."""

from __future__ import annotations

import random

import pytest

from lakehouse.build import BUILD
from tests.integration.conftest import MARTS, UNMATCHED_READINGS, WEARABLES_ACCEPTED, House
from tests.simulation.domains import DOMAINS

pytestmark = pytest.mark.deep

STORY = {"minutes": 60, "users": 12, "late": 0.2, "duplicates": 0.1, "corrupt": 0.002}


@pytest.fixture(scope="module")
def told(house: House) -> tuple[House, dict]:
    domain = DOMAINS["wearables"]
    files = domain.files(7, STORY)
    held_back = random.Random(7).sample(files, len(files) // 2)
    for file in files:
        if file not in held_back:
            house.deliver(file.table, file.name, file.content)
    house.ingest()
    house.build_untested()
    for file in held_back:
        house.deliver(file.table, file.name, file.content)
    house.ingest()
    house.bare_dbt(*BUILD)  # with every test of data, on data as bad as data get
    expected = domain.answers(file for file in files if not file.is_refused)
    refused = sorted(f"{file.table}/{file.name}" for file in files if file.is_refused)
    return house, expected | {"refused_files": refused}


@pytest.mark.parametrize("mart", MARTS)
def test_the_mart_equals_the_expected_answer(told: tuple[House, dict], mart: str) -> None:
    house, expected = told
    assert house.gold()[mart] == sorted(expected[mart], key=repr)


def test_events_in_are_accepted_or_doubled_or_rejected(told: tuple[House, dict]) -> None:
    house, expected = told
    assert house.miscounts(expected, WEARABLES_ACCEPTED) == []


def test_conflicts_and_unmatched_readings_are_counted(told: tuple[House, dict]) -> None:
    house, expected = told
    conflicts = expected["entity_counts"]["heart_rates"]["conflicts"]
    assert house.value("select coalesce(sum(num_conflicts), 0) from audit.conflicts") == conflicts
    assert house.value(UNMATCHED_READINGS) == expected["unmatched_readings"]
    assert house.value("select count(*) from silver.dim_users_current") == expected["current_users"]


def test_unreadable_files_are_refused_and_the_rest_goes_on(told: tuple[House, dict]) -> None:
    house, expected = told
    refused = house.rows(
        "select distinct concat(source, '/', name) as file from audit.files "
        "where status = 'quarantined' order by file"
    )
    assert [row["file"] for row in refused] == expected["refused_files"]


def test_every_model_gives_the_same_rows_with_ansi_mode_on_and_off(
    told: tuple[House, dict],
) -> None:
    house, _ = told
    models = house.compiled(
        "path:models/*/wearables", "path:models/staging/sbit", "path:models/audit"
    )
    assert len(models) >= 25
    assert house.fingerprints(models, ansi=True) == house.fingerprints(models, ansi=False)
