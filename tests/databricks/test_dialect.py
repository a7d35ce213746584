"""What is sent is SQL of Databricks, as far as the linter knows it."""

from __future__ import annotations

import re

import pytest
from sqlfluff.core import FluffConfig, Linter

from tests.databricks.conftest import Builds
from tests.databricks.warehouse import OF_DBT

LINTER = Linter(config=FluffConfig(overrides={"dialect": "databricks"}))
# What the manual has and sqlfluff 4.4 does not parse, in words that it knows.
AS_IT_KNOWS = (
    (r"^(insert into \S+) by name(\s+replace where)", r"\1\2"),
    (r"^alter( view \S+ as select.*\bunion all\b)", r"create\1"),
    (r"^(alter table \S+ alter column \w+ comment '(?:[^'\\]|\\.)*'),.*", r"\1"),
)


# Nor does it know scripts; their statements it does.
SCRIPT = re.compile(r"\s*begin\s+declare exit handler.*?end;(.*)end\s*", re.DOTALL)


def faults(sql: str) -> list[str]:
    script = SCRIPT.fullmatch(sql)
    found = []
    for statement in re.split(r";\s*\n", script[1].strip()) if script else [sql]:
        reworded = statement
        for known, words in AS_IT_KNOWS:
            reworded = re.sub(known, words, reworded, count=1, flags=re.DOTALL)
        found += [str(one) for one in LINTER.parse_string(reworded).violations]
    return found


def test_all_that_is_sent_parses(builds: Builds) -> None:
    """One of those that differ in numbers alone, as a test's do from load to load."""
    ours = {
        re.sub(r"\d+", "0", one.sql): one
        for of in builds.statements
        for one in of
        if not one.node.startswith(("unit_test.", "seed.")) and not OF_DBT.match(one.sql)
    }
    assert len(ours) > 500
    found = {(one.node, *faults(one.sql)) for one in ours.values()}
    assert {one for one in found if len(one) > 1} == set()


@pytest.mark.parametrize(
    "sql",
    [
        "select a from t where",
        "insert into t by name replace where select * from u",
        "begin declare exit handler for sqlexception begin select 1; end;\nselect from;\nend",
        "alter view t as select a from u union all selekt b from v",
        "merge into t as target using u on t.a = u.a when matched then upsert",
    ],
)
def test_what_is_no_sql_is_found(sql: str) -> None:
    assert faults(sql)
