"""What replaces something of dbt-databricks, or would hide it, is told and read again."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

# By the macro that is replaced, what it was when ours was written: the begin of its text's SHA-256.
WRITTEN_AGAINST = {
    "dbt_databricks.apply_liquid_clustered_cols": "99ce249b8b976d06",
    "dbt_databricks.databricks__build_snapshot_table": "0fb528694e842b75",
    "dbt_databricks.databricks__create_view_as": "476d84fa5aa72de4",
    "dbt_databricks.databricks__load_csv_rows": "033163e2281e1c04",
    "dbt_databricks.databricks__reset_csv_table": "dde8ca8c74fd97f0",
    "dbt_databricks.databricks__snapshot_merge_sql": "42254f94e8b085f3",
    "dbt_databricks.databricks__snapshot_staging_table": "a3f31208f7b038d1",
    "dbt_databricks.liquid_clustered_cols": "efbaf157405833eb",
    "dbt_spark.spark__get_columns_in_relation": "2ac94b02108b6927",
    "dbt_spark.spark__partition_cols": "ccd9342a09a23213",
}


def names(manifest: dict[str, Any], *packages: str) -> set[str]:
    macros = manifest["macros"].values()
    return {macro["name"] for macro in macros if macro["package_name"] in packages}


@pytest.mark.parametrize("macro", WRITTEN_AGAINST)
def test_a_macro_that_is_replaced_is_as_it_was(manifest: dict[str, Any], macro: str) -> None:
    sql = manifest["macros"][f"macro.{macro}"]["macro_sql"]
    assert hashlib.sha256(sql.encode()).hexdigest()[:16] == WRITTEN_AGAINST[macro], (
        f"{macro} has changed: read it, mend what replaces it in macros/overrides, and note it here"
    )


def test_a_macro_for_spark_hides_none_of_databricks(manifest: dict[str, Any]) -> None:
    """dbt looks for `databricks__x` and `spark__x` in the project before it looks elsewhere."""
    ours, theirs = names(manifest, "lakehouse"), names(manifest, "dbt_databricks")
    for name in ours:
        other = name.replace("spark__", "databricks__")
        assert not (name.startswith("spark__") and other in theirs) or other in ours, name


def test_what_replaces_a_macro_is_noted(manifest: dict[str, Any]) -> None:
    ours, theirs = names(manifest, "lakehouse"), names(manifest, "dbt_databricks")
    noted = {macro.partition(".")[2] for macro in WRITTEN_AGAINST}
    assert ours & theirs <= noted
