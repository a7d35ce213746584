"""Macros that replace something are read again when that changes; the others are shared."""

from __future__ import annotations

import hashlib
import re
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

# By the macro that is replaced, what it was when ours was written: the begin of its text's SHA-256.
WRITTEN_AGAINST = {
    "dbt.default__build_snapshot_table": "8ba9147459a89182",
    "dbt.default__snapshot_staging_table": "6fae091f24741633",
    "dbt.generate_schema_name": "979a03c08f2bb346",
    "dbt.list_relations_without_caching": "7bfcdc5edbdda2dd",
    "dbt.should_full_refresh": "b08ab2963c4333cd",
    "dbt_spark.dbt_spark_get_incremental_sql": "fb298acc76daaf35",
    "dbt_spark.dbt_spark_validate_get_incremental_strategy": "902e98b42735bb78",
    "dbt_spark.spark__create_view_as": "2495e182f0ce6368",
    "dbt_spark.spark__get_columns_in_relation": "2ac94b02108b6927",
    "dbt_spark.spark__load_csv_rows": "a8471c8fa6d20ee6",
    "dbt_spark.spark__reset_csv_table": "21519fb3e8e826be",
    "dbt_spark.spark__snapshot_merge_sql": "3a0f421e4ef58536",
}


def text(manifest: Any, macro: str) -> str:
    sql = manifest.macros[f"macro.{macro}"].macro_sql
    return hashlib.sha256(sql.encode()).hexdigest()[:16]


@pytest.mark.parametrize("macro", WRITTEN_AGAINST)
def test_a_macro_that_is_replaced_is_as_it_was(manifest: Any, macro: str) -> None:
    assert text(manifest, macro) == WRITTEN_AGAINST[macro], (
        f"{macro} has changed: read it, mend what replaces it in macros/overrides, and note it here"
    )


def test_what_replaces_a_macro_stands_in_overrides(manifest: Any) -> None:
    """Those under a name of dbt's own, and those that its dispatch finds before the default."""
    ours = [macro for macro in manifest.macros.values() if macro.package_name == "lakehouse"]
    names = {macro.name for macro in manifest.macros.values() if macro not in ours}
    replaced = set()
    for macro in ours:
        for name in (macro.name, macro.name.replace("spark__", "default__")):
            if name in names:
                assert macro.original_file_path.startswith("macros/overrides/"), macro.name
                replaced.add(name)
                break
    assert replaced == {macro.split(".")[1] for macro in WRITTEN_AGAINST}


def test_a_table_is_none_of_the_views_that_may_be_dropped(manifest: Any) -> None:
    """Of `gold`, in which somebody has made one: to drop it as a view would fail in each run."""
    told = {
        "server_load": "Type: VIEW\nView Text: select a version as of 3\nView Original Text: x",
        "server_status": "Type: VIEW\nView Text: select a\nfrom b\nView Original Text: x",
        "mine": "Type: MANAGED\nProvider: delta\n",
    }
    rows = [("gold", name, False, text) for name, text in told.items()]
    found: list[dict[str, str]] = []
    template = jinja2.Environment(extensions=["jinja2.ext.do"]).from_string(  # noqa: S701 - SQL
        manifest.macros["macro.lakehouse.spark__texts_of_views"].macro_sql,
        globals={
            "modules": SimpleNamespace(re=re),
            "return": found.append,
            "run_query": lambda _: SimpleNamespace(rows=rows),
        },
    )
    template.module.spark__texts_of_views("gold")
    assert found == [{"server_load": "select a version as of 3", "server_status": "select a"}]


def test_a_macro_that_one_model_alone_asks_for_stands_in_it(manifest: Any) -> None:
    """But for a table's change feed, which the toy project reads too."""
    called: dict[str, set[str]] = {}
    for caller in (*manifest.nodes.values(), *manifest.macros.values()):
        for macro in caller.depends_on.macros:
            called.setdefault(macro, set()).add(caller.unique_id)
    alone = {
        macro
        for macro, callers in called.items()
        if macro.startswith("macro.lakehouse.")
        and [one.split(".")[0] for one in callers] in (["model"], ["snapshot"], ["test"])
    }
    assert alone == {"macro.lakehouse.changes_since_built"}
