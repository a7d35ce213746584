"""What is sent for one table of each strategy, word for word: a change there is seen.

`make test-databricks RECORD=1` writes it down anew; what has changed then stands in the difference.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.databricks.conftest import Builds
from tests.databricks.test_build import WRITES, tables
from tests.databricks.warehouse import OF_DBT

RECORDED = Path(__file__).parent / "recorded"
STRATEGIES = {
    "model.lakehouse.int_readings": "merge_arrivals",
    "model.lakehouse.gym_summary": "recompute_touched",
    "model.lakehouse.int_file_rejects": "replace_loads",
    "model.lakehouse.server_load": "replace_touched",
    "snapshot.lakehouse.user_profiles": "change_log",
}
# A live part, and a seed; `gold` is what hooks send for the schema that readers see.
OTHERS = ["model.lakehouse.int_connections_arrived", "seed.lakehouse.age_bands", "gold"]


def test_one_table_of_each_strategy_is_recorded(manifest: dict[str, Any]) -> None:
    of = tables(manifest)
    assert {node: of[node] for node in STRATEGIES} == STRATEGIES
    assert set(STRATEGIES.values()) == set(WRITES)


@pytest.mark.parametrize("node", [*STRATEGIES, *OTHERS])
def test_what_is_sent_is_what_is_recorded(
    builds: Builds, node: str, pytestconfig: pytest.Config
) -> None:
    file = RECORDED / f"{node.rpartition('.')[2]}.sql"
    text = recorded(builds, node)
    if pytestconfig.getoption("--record"):
        file.write_text(text)
    assert text == file.read_text()


def recorded(builds: Builds, node: str) -> str:
    """Both builds' statements for a node but dbt's own questions, without templates' blanks."""
    parts = []
    for build, title in enumerate(("the first build", "a later build")):
        told = of_gold(builds, build) if node == "gold" else builds.of(build, node)
        parts.append(f"-- {title}\n")
        told = [sql for sql in told if not OF_DBT.match(sql)]
        parts += [re.sub(r"[ \t]*\n(?:[ \t]*\n)*", "\n", sql) + ";\n" for sql in told]
    return "\n".join(parts)


def of_gold(builds: Builds, build: int) -> list[str]:
    """What hooks send for `gold`, in the order of its words: dbt's own hangs on its cache."""
    found = {one.sql for one in builds.statements[build] if not one.node}
    return sorted(
        sql for sql in found if re.match(r"(create|alter|drop) (view|schema) .*`gold`", sql)
    )
