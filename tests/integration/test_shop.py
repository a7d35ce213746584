"""The shop's story against plain Python: in any order, twice, late and broken."""

from __future__ import annotations

import random

import pytest

from tests.support.domains import DOMAINS
from tests.support.lakehouse import Lakehouse, plain

RETAIL = DOMAINS["retail"]
STORY = {
    **{"days": 6, "minutes": 10, "customers": 15},
    **{"late": 0.2, "duplicates": 0.1, "corrupt": 0.01, "reversed_": True},
}


@pytest.fixture(scope="module")
def told(lakehouse: Lakehouse) -> tuple[Lakehouse, dict]:
    """The story in two loads, the later half first."""
    lakehouse.domains = ("retail",)
    files = RETAIL.files(7, STORY)
    lakehouse.deliver_files(lakehouse.build_half(files))
    whole = [file for file in files if not file.is_refused]
    for number, file in enumerate(random.Random(8).sample(whole, len(whole) // 5)):
        lakehouse.deliver(
            file.table, f"again-{number}-{file.name.rpartition('/')[2]}", file.content
        )
    lakehouse.ingest()
    lakehouse.build()
    refused = sorted(file.full_name for file in files if file.is_refused)
    return lakehouse, RETAIL.answers(files) | {"refused_files": refused}


@pytest.mark.parametrize("mart", RETAIL.marts)
def test_the_mart_equals_the_expected_answer(told: tuple[Lakehouse, dict], mart: str) -> None:
    lakehouse, expected = told
    columns = ", ".join(expected[mart][0])
    rows = plain(lakehouse.rows(f"select {columns} from gold.{mart}"))
    assert rows == sorted(expected[mart], key=repr)


def test_events_in_are_accepted_or_doubled_or_rejected(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, expected = told
    assert lakehouse.miscounts(expected, RETAIL.accepted) == []


def test_what_waits_and_what_was_refunded_beyond_its_line_is_listed(
    told: tuple[Lakehouse, dict],
) -> None:
    lakehouse, expected = told
    waiting = lakehouse.rows(
        "select reason, sum(num_events) as num_events from audit.retail_unmatched group by reason"
    )
    found = {row["reason"]: row["num_events"] for row in waiting}
    assert found == {reason: number for reason, number in expected["unmatched"].items() if number}
    beyond = plain(lakehouse.rows("select * from audit.retail_refunds_beyond_lines"))
    assert beyond == sorted(expected["refunded_beyond"], key=repr)


def test_what_cannot_be_read_is_refused_and_the_rest_goes_on(
    told: tuple[Lakehouse, dict],
) -> None:
    lakehouse, expected = told
    assert lakehouse.refused_files() == expected["refused_files"]


@pytest.mark.deep
def test_a_full_refresh_changes_nothing(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, _ = told
    before = lakehouse.gold("gold_build", RETAIL.marts)
    lakehouse.build_untested("--full-refresh")
    assert lakehouse.gold("gold_build", RETAIL.marts) == before
