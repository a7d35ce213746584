"""What the rows of a domain tell of its publications."""

from __future__ import annotations

from typing import Any

import pytest

from lakehouse import restore
from lakehouse.domains import State
from lakehouse.errors import LakehouseError
from lakehouse.restore import Publication, publications_in

MOMENT = "timestamp '2026-03-01 10:00:00'"


def row(
    number: int, load: int | None, gold: dict[str, int], writer: str = "dbt", **told: Any
) -> tuple[State, str, str]:
    """A row that `writer` appended; unless told otherwise, what is built is published."""
    details = {"marts": gold, "gold": gold, "as_of": MOMENT} | told
    return State(number, told.get("built", load), load, details), writer, f"at {number}"


def numbers(*rows: tuple[State, str, str]) -> list[tuple[int, int, dict[str, int], bool]]:
    """Number, load and versions of each publication, and whether readers see it."""
    return [(one.number, one.load, one.marts, one.is_shown) for one in publications_in(rows)]


def test_a_publication_is_told_by_the_row_that_published_it() -> None:
    rows = [
        row(1, None, {}),
        row(2, 3, {"m": 5, "n": 1}),
        row(
            3, 3, {"m": 5, "n": 1}, marts={"m": 6, "n": 1}, as_of="timestamp '2026-03-02 10:00:00'"
        ),
        row(4, 4, {"m": 6, "n": 1}, as_of="timestamp '2026-03-02 10:00:00'"),
    ]
    assert publications_in(rows) == [
        Publication(4, 4, "at 4", "2026-03-02 10:00:00", {"m": 6, "n": 1}, is_shown=True),
        Publication(2, 3, "at 2", "2026-03-01 10:00:00", {"m": 5, "n": 1}, is_shown=False),
    ]
    assert publications_in(rows[:1]) == []


def test_a_report_time_that_is_of_a_later_build_is_not_told() -> None:
    """The row that published it has been forgotten."""
    [publication] = publications_in([row(3, 3, {"m": 5}, marts={"m": 6})])
    assert publication.as_of is None


def test_one_load_may_be_published_twice() -> None:
    """Built anew by another logic, it is what one goes back from."""
    told = numbers(row(2, 3, {"m": 5}), row(3, 3, {"m": 6}))
    assert told == [(3, 3, {"m": 6}, True), (2, 3, {"m": 5}, False)]


def test_the_same_answers_up_to_a_later_load_are_one() -> None:
    assert numbers(row(2, 3, {"m": 5}), row(3, 4, {"m": 5})) == [(2, 4, {"m": 5}, True)]


def test_what_upkeep_has_compacted_is_the_same() -> None:
    told = numbers(row(2, 3, {"m": 5}), row(3, 3, {"m": 6}, "upkeep"), row(4, 4, {"m": 7}))
    assert told == [(4, 4, {"m": 7}, True), (2, 3, {"m": 6}, False)]


def test_who_has_gone_back_sees_the_older_one() -> None:
    published = (row(2, 3, {"m": 5}), row(3, 4, {"m": 6}))
    held = (row(4, 3, {"m": 5}, "restore", held=2), row(5, 3, {"m": 5}, held=2, built=5))
    both = [(3, 4, {"m": 6}, False), (2, 3, {"m": 5}, True)]
    assert numbers(*published, *held) == both
    released = row(6, 3, {"m": 5}, "restore", held=None)
    assert numbers(*published, *held, released) == both
    assert numbers(*published, *held, released, row(7, 5, {"m": 9})) == [
        (7, 5, {"m": 9}, True),
        (3, 4, {"m": 6}, False),
        (2, 3, {"m": 5}, False),
    ]
    assert numbers(*held) == [(2, 3, {"m": 5}, True)]  # its own row has been forgotten


@pytest.mark.parametrize(
    ("domain", "told"),
    [
        ("foo", "foo is no domain. There are: network, retail, wearables"),
        ("network", "network is not built here yet. Built: retail"),
    ],
)
def test_no_domain_is_told_apart_from_one_that_is_not_built(
    monkeypatch: pytest.MonkeyPatch, domain: str, told: str
) -> None:
    monkeypatch.setattr(restore, "states_of", lambda _: {"retail": State(1, 1, 1)})
    with pytest.raises(LakehouseError) as error:
        restore.release(None, domain)  # type: ignore[arg-type]
    assert str(error.value) == told
