"""Questions to the lakehouse: a statement's rows, and where everything stands."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

from ingestion.declaration import SourceTable
from ingestion.gate import waiting_files
from ingestion.home import Home


def ask(spark: SparkSession, sql: str) -> tuple[list[str], list[list[Any]]]:
    """The column names and rows of one statement.

    Raises:
        PySparkException: The statement cannot be run; its first line is the engine's reason.
    """
    answer = spark.sql(sql).toArrow()
    columns = [column.to_pylist() for column in answer.columns]
    return answer.column_names, [list(row) for row in zip(*columns, strict=True)]


def status(
    spark: SparkSession, home: Home, tables: list[SourceTable]
) -> dict[str, list[dict[str, Any]]]:
    """Where everything stands.

    Returns:
        `sources`: per source files waiting, taken in, doubled and refused, their rows, rejects,
        unmatched events, the last load and the seconds since it; `marts`: per mart the load that
        readers see and when it was published.
    """
    marts = _records(
        spark,
        "select mart, max_by(load_id, published_at) as load_id, max(published_at) as published_at "
        "from audit.publications group by mart order by mart",
        "audit.publications",
    )
    files = _by_source(
        spark,
        """
        select
            source,
            -- A file is written down before it is moved: after a crash, twice.
            count(distinct if(status = 'landed', sha256, null)) as files,
            count_if(status = 'duplicate') as duplicate_files,
            count_if(status = 'quarantined') as quarantined_files,
            max(load_id) as last_load,
            timestampdiff(second, max(recorded_at), current_timestamp()) as seconds_since
        from audit.files
        group by source
        """,
        "audit.files",
    )
    rows = _by_source(
        spark,
        "select source, coalesce(sum(num_rows), 0) as rows from audit.loads "
        "where source is not null group by source",
        "audit.loads",
    )
    rejects = _by_source(
        spark,
        "select source, count_if(level = 'row') as row_rejects, "
        "count_if(level = 'field') as field_rejects from audit.rejects group by source",
        "audit.rejects",
    )
    unmatched = _by_source(
        spark,
        "select source, sum(num_events) as unmatched from audit.unmatched group by source",
        "audit.unmatched",
    )
    none_yet = {"files": 0, "rows": 0, "duplicate_files": 0, "quarantined_files": 0}
    sources = []
    for table in tables:
        name = table.full_name
        taken_in = files.get(name, {}) | rows.get(name, {})
        sources.append(
            {"source": name, "waiting": len(waiting_files(home, table))}
            | {key: taken_in.get(key, zero) for key, zero in none_yet.items()}
            | {key: rejects.get(name, {}).get(key, 0) for key in ("row_rejects", "field_rejects")}
            | {"unmatched": unmatched.get(name, {}).get("unmatched", 0)}
            | {key: taken_in.get(key) for key in ("last_load", "seconds_since")}
        )
    return {"sources": sources, "marts": marts}


def _by_source(spark: SparkSession, sql: str, table: str) -> dict[str, dict[str, Any]]:
    return {record["source"]: record for record in _records(spark, sql, table)}


def _records(spark: SparkSession, sql: str, table: str) -> list[dict[str, Any]]:
    """The rows of a question to a table that the first build may not have made yet."""
    if not spark.catalog.tableExists(table):
        return []
    columns, rows = ask(spark, sql)
    return [dict(zip(columns, row, strict=True)) for row in rows]
