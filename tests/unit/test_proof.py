"""No claim without a command, and no command that is not there."""

from __future__ import annotations

import re
import shlex

import pytest

from lakehouse.report.parts import SHOWN
from lakehouse.report.proof import claims, page
from lakehouse.settings import PROJECT

MAKEFILE = (PROJECT / "Makefile").read_text()


@pytest.mark.parametrize("claim", claims(), ids=lambda one: one["promise"][:30])
def test_each_command_is_there(claim: dict[str, str]) -> None:
    assert set(claim) == {"promise", "attack", "seen", "command"}
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
        assert re.search(rf"^def test_\w*{name}", paths[0].read_text(), re.MULTILINE)


def test_all_claims_are_shown() -> None:
    [block] = page().blocks
    assert len(block.rows) <= SHOWN
