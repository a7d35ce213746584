"""No claim without a command, and no command that is not there."""

from __future__ import annotations

import re
import shlex

import pytest

from lakehouse.report.parts import SHOWN
from lakehouse.report.proof import claims, page
from lakehouse.settings import PROJECT

MAKEFILE = (PROJECT / "Makefile").read_text()


PROMISES, REPORTS = claims()


@pytest.mark.parametrize("claim", PROMISES + REPORTS, ids=lambda one: next(iter(one.values()))[:30])
def test_each_command_is_there(claim: dict[str, str]) -> None:
    told = {"promise", "attack", "seen"} if "promise" in claim else {"trouble", "reported", "here"}
    assert set(claim) == told | {"command"}
    assert all(claim.values())
    program, *words = shlex.split(claim["command"])
    if program == "make":
        assert re.search(rf"^{words[0]}:", MAKEFILE, re.MULTILINE)
        return
    if program == ".venv/bin/dbt":
        assert (PROJECT / "tests" / "dbt" / f"{words[-1]}.sql").is_file()
        return
    assert program == ".venv/bin/pytest"
    paths = [PROJECT / word for word in words if word.startswith("tests/")]
    assert paths
    assert all(path.is_file() for path in paths)
    if "-k" in words:
        name = words[words.index("-k") + 1]
        # A test, or what one is run with.
        known = rf'^def test_\w*{name}|"{name}[^"]*"'
        assert re.search(known, paths[0].read_text(), re.MULTILINE)


def test_all_claims_are_shown() -> None:
    for block, rows in zip(page().blocks, claims(), strict=True):
        assert list(block.rows) == rows
        assert len(block.rows) <= SHOWN
