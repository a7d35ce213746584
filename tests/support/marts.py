"""Hand-made marts for the pages, in DuckDB, and what asks them as the engine is asked."""

from __future__ import annotations

from typing import Any

import duckdb
import yaml

from lakehouse import reading
from lakehouse.reading import Ask, Row
from lakehouse.settings import PROJECT

# Of the tables that are no models of gold.
_OTHERS = {
    "audit.domains": (
        "domain string, built bigint, published bigint, number bigint, state string, "
        "recorded_at timestamptz"
    ),
    "audit.loads": (
        "load_id bigint, source string, status string, num_rows bigint, message string, "
        "recorded_at timestamptz"
    ),
    "audit.run_results": (
        "invocation_id string, command string, run_started_at timestamptz, cut bigint, "
        "node_id string, name string, resource_type string, domain string, status string, "
        "started_at timestamptz, seconds double, failures bigint, message string, "
        "recorded_at timestamptz"
    ),
    "audit.rejects": (
        "source string, entity string, level string, reason string, _ingested_at timestamptz"
    ),
    "audit.unmatched": (
        "source string, entity string, reason string, key string, num_events bigint"
    ),
}
_TYPES = {"timestamp": "timestamptz"}


def declared() -> dict[str, str]:
    """The columns of each mart, `gold.<mart>`, as its YAML declares them, in DuckDB's types."""
    tables = dict(_OTHERS)
    for file in sorted((PROJECT / "models" / "marts").glob("*/_*__models.yml")):
        for model in yaml.safe_load(file.read_text())["models"]:
            tables[f"gold.{model['name']}"] = ", ".join(
                f"{column['name']} {_TYPES.get(column['data_type'], column['data_type'])}"
                for column in model["columns"]
            )
    return tables


class Marts:
    """A DuckDB with the schemas gold and audit; a table is there once something is put into it."""

    def __init__(self) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("set TimeZone = 'UTC'; create schema gold; create schema audit")
        self._declared = declared()

    def make(self, table: str, *rows: dict[str, Any]) -> None:
        """Puts rows into a table; columns that a row does not name are null."""
        self._connection.execute(f"create table if not exists {table} ({self._declared[table]})")
        for row in rows:
            names, marks = ", ".join(row), ", ".join("?" * len(row))
            self._connection.execute(
                f"insert into {table} ({names}) values ({marks})", list(row.values())
            )

    def fill(self, table: str, sql: str) -> None:
        """Puts the rows of a question into a table, whose columns it names."""
        self._connection.execute(f"create table if not exists {table} ({self._declared[table]})")
        self._connection.execute(f"insert into {table} by name {sql}")

    def tell(self, answers: dict[str, Any]) -> None:
        """Puts in what plain Python answers: of each mart its rows."""
        for name, rows in answers.items():
            if f"gold.{name}" in self._declared:
                self.make(f"gold.{name}", *rows)

    def change(self, sql: str) -> None:
        """Changes rows or tables."""
        self._connection.cursor().execute(sql)

    @property
    def ask(self) -> Ask:
        """Asks, as `lakehouse.reading.asking` does."""

        def ask(sql: str) -> list[Row] | None:
            try:
                answer = self._connection.cursor().execute(sql).to_arrow_table()
            except duckdb.CatalogException:
                return None
            columns, rows = reading.rows_of(answer)
            return [dict(zip(columns, row, strict=True)) for row in rows]

        return ask
