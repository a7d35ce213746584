"""Two builds of all there is go through, by statements that mean what they mean locally."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from tests.databricks.conftest import Builds, Dbt
from tests.databricks.warehouse import Answer, Warehouse

# By strategy, how the one statement begins that writes a table's news.
WRITES = {
    "merge_arrivals": "merge into",
    "recompute_touched": "merge into",
    "replace_loads": "insert into",
    "replace_touched": "insert into",
    "change_log": "merge into",
}
SCHEMAS = ("bronze", "silver", "snapshots", "gold_build", "gold", "audit")


def test_everything_is_built_and_tested(builds: Builds, manifest: dict[str, Any]) -> None:
    """Nodes, the hooks at begin and end among them, and in the first build all unit tests."""
    nodes, unit_tests = set(manifest["nodes"]), set(manifest["unit_tests"])
    first, later = (
        {one.node.unique_id for one in done if one.node.resource_type != "exposure"}
        for done in builds.results
    )
    assert (first, later) == (nodes | unit_tests, nodes)


def test_each_domain_is_published_up_to_the_last_load(builds: Builds) -> None:
    assert sorted(builds.warehouse.domains) == ["network", "retail", "wearables"]
    for _, name, _, built, published, _ in builds.warehouse.domains.values():
        assert (built, published) == (2, 2), name


def tables(manifest: dict[str, Any]) -> dict[str, str]:
    """The strategy of each table that builds write, by its id."""
    found = {}
    for unique_id, node in manifest["nodes"].items():
        config = node["config"]
        if node["resource_type"] == "snapshot":
            found[unique_id] = config["strategy"]
        elif config.get("materialized") == "incremental":
            found[unique_id] = config["incremental_strategy"]
    return found


def test_each_strategy_writes_with_its_own_statement(
    builds: Builds, manifest: dict[str, Any]
) -> None:
    of = tables(manifest)
    assert set(of.values()) == set(WRITES)
    for node, strategy in of.items():
        name = manifest["nodes"][node]["relation_name"]
        created = [sql for sql in builds.of(0, node) if sql.startswith("create or replace table")]
        assert len(created) == 1, node
        written = [
            sql
            for sql in builds.of(1, node)
            if re.match(r"(merge into|insert|create or replace table|delete|update)\b", sql)
        ]
        assert [sql.startswith(f"{WRITES[strategy]} {name}") for sql in written] == [True], node


def test_what_lies_in_partitions_locally_is_clustered(
    builds: Builds, manifest: dict[str, Any]
) -> None:
    clustered = 0
    for node in tables(manifest):
        config = manifest["nodes"][node]["config"]
        [created] = [sql for sql in builds.of(0, node) if sql.startswith("create or replace table")]
        head = created.split("\n      as\n")[0]
        columns = config.get("partition_by") or []
        if columns and (more := config["meta"].get("range")):
            columns = [*columns, more]
        wanted = f"cluster by ({', '.join(columns)})" if columns else ""
        assert re.findall(r"cluster(?:ed)? by.*", head, re.IGNORECASE) == [wanted] * bool(columns)
        clustered += bool(columns)
    assert clustered > 10
    assert not [one for one in sent(builds) if "partitioned by" in one.lower()]


def sent(builds: Builds) -> list[str]:
    return [one.sql for of in builds.statements for one in of]


def test_no_setting_of_the_local_engine_is_sent(builds: Builds) -> None:
    settings = builds.warehouse.arguments["session_configuration"]
    assert {name for name in settings if name != "QUERY_TAGS"} == {"timezone", "ansi_mode"}
    for sql in sent(builds):
        assert not re.match(r"(set|reset|use|cache|refresh)\b", sql, re.IGNORECASE), sql
        assert "spark." not in sql, sql


def test_every_name_has_its_catalog(builds: Builds) -> None:
    """A name without one would be another's in a session that has another catalog."""
    alone = re.compile(rf"(?<![\w`.'])`?(?:{'|'.join(SCHEMAS)})`?\.`?\w")
    assert [sql for sql in sent(builds) if alone.search(sql)] == []


def test_a_later_build_leaves_seeds_and_properties_alone(
    builds: Builds, manifest: dict[str, Any]
) -> None:
    later = builds.statements[1]
    of_seeds = re.compile(r"insert overwrite |create\s+(or replace\s+)?table ")  # on no node's word
    assert [one.sql for one in later if of_seeds.match(one.sql)] == []
    of_tables = [one.sql for one in later if one.node in tables(manifest)]
    assert [sql for sql in of_tables if re.match(r"alter table|optimize", sql, re.I)] == []


@pytest.mark.parametrize("mart", ["gym_summary", "server_load", "sales_by_region_product"])
def test_readers_see_the_version_that_was_tested(builds: Builds, mart: str) -> None:
    shown = builds.warehouse.shown[mart]
    assert shown.endswith(f" from `main_test`.`gold_build`.`{mart}` version as of 2")


class BesideAnother(Warehouse):
    """A warehouse on which another run publishes the shop while this one writes."""

    def run(self, text: str, last_node: str) -> tuple[str, Answer]:
        if "merge into" in text:
            self.shown["inventory_daily"] = "version as of 9"
        return super().run(text, last_node)


def test_a_build_of_a_domain_leaves_what_another_run_publishes(builds: Builds, dbt: Dbt) -> None:
    """On Databricks domains are built side by side, each by a run of its own."""
    warehouse = copy.deepcopy(builds.warehouse)
    warehouse.__class__ = BesideAnother
    warehouse.load += 1
    one = ("--select", "config.meta.domain:network", "--exclude-resource-type", "unit_test")
    dbt.run("build", "--threads", "1", *one, warehouse=warehouse)
    assert warehouse.domains["network"][4] == 3
    assert warehouse.shown["server_load"].endswith(" version as of 3")
    assert warehouse.shown["inventory_daily"] == "version as of 9"


def test_a_full_refresh_forgets_the_report_time_that_was(builds: Builds, dbt: Dbt) -> None:
    """By other vars the latest event may be a reject, and nobody would ever see another now."""
    warehouse = copy.deepcopy(builds.warehouse)
    before = len(warehouse.statements)
    one = ("--select", "config.meta.domain:network", "--exclude-resource-type", "unit_test")
    dbt.run("build", "--full-refresh", "--threads", "1", *one, warehouse=warehouse)
    asked = [one.sql for one in warehouse.statements[before:] if "(max(event_at)" in one.sql]
    assert len(asked) == 1
    assert "greatest(" not in asked[0]
    assert "_load_id >" not in asked[0]


def test_a_view_that_a_kill_has_left_out_has_the_columns_of_its_version(
    builds: Builds, dbt: Dbt
) -> None:
    """The mart may have got others since; the warehouse tells of one, `outcome`."""
    warehouse = copy.deepcopy(builds.warehouse)
    del warehouse.shown["server_load"]
    dbt.run("seed", "--select", "config.meta.domain:network", warehouse=warehouse)
    assert warehouse.shown["server_load"] == (
        "select outcome from `main_test`.`gold_build`.`server_load` version as of 2"
    )
