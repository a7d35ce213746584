"""Made-up data with late, doubled and corrupt events against plain Python."""

from __future__ import annotations

import pytest

from lakehouse.build import BUILD
from tests.support.domains import DOMAINS, selected
from tests.support.lakehouse import Lakehouse

pytestmark = pytest.mark.deep

WEARABLES = DOMAINS["wearables"]
STORY = {"minutes": 60, "users": 12, "late": 0.2, "duplicates": 0.1, "corrupt": 0.002}


@pytest.fixture(scope="module")
def told(lakehouse: Lakehouse) -> tuple[Lakehouse, dict]:
    files = WEARABLES.files(7, STORY)
    lakehouse.deliver_files(lakehouse.build_half(files))
    lakehouse.ingest()
    lakehouse.bare_dbt(
        *BUILD, *selected("wearables")
    )  # with every test of data, on data as bad as data get
    refused = sorted(file.full_name for file in files if file.is_refused)
    return lakehouse, WEARABLES.answers(files) | {"refused_files": refused}


@pytest.mark.parametrize("mart", WEARABLES.marts)
def test_the_mart_equals_the_expected_answer(told: tuple[Lakehouse, dict], mart: str) -> None:
    lakehouse, expected = told
    assert lakehouse.gold()[mart] == sorted(expected[mart], key=repr)


def test_events_in_are_accepted_or_doubled_or_rejected(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, expected = told
    assert lakehouse.miscounts(expected, WEARABLES.accepted) == []


def test_conflicts_and_unmatched_readings_are_counted(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, expected = told
    conflicts = expected["entity_counts"]["heart_rates"]["conflicts"]
    assert (
        lakehouse.value("select coalesce(sum(num_conflicts), 0) from audit.conflicts") == conflicts
    )
    assert lakehouse.num_unmatched_readings() == expected["unmatched_readings"]
    assert (
        lakehouse.value("select count(*) from silver.dim_users_current")
        == expected["current_users"]
    )


def test_unreadable_files_are_refused_and_the_rest_goes_on(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, expected = told
    assert lakehouse.refused_files() == expected["refused_files"]


def test_every_model_gives_the_same_rows_with_ansi_mode_on_and_off(
    told: tuple[Lakehouse, dict],
) -> None:
    lakehouse, _ = told
    models = lakehouse.compiled("config.meta.domain:wearables", "path:models/audit/*.sql")
    assert len(models) >= 25
    assert lakehouse.fingerprints(models, ansi=True) == lakehouse.fingerprints(models, ansi=False)
