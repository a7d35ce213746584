"""Hand-made marts for the pages, in DuckDB, and what asks them as the engine is asked."""

from __future__ import annotations

from typing import Any

import duckdb
import yaml

from lakehouse import reading
from lakehouse.report.data import Ask
from lakehouse.report.parts import Row
from lakehouse.settings import PROJECT

# Of the tables that are no models of gold.
_OTHERS = {
    "audit.domains": (
        "domain string, built bigint, published bigint, number bigint, recorded_at timestamptz"
    ),
    "audit.rejects": "source string, entity string, level string, reason string",
    "audit.unmatched": (
        "source string, entity string, reason string, key string, num_events bigint"
    ),
}
# Of marts that no model makes yet.
_COMING = {
    "gold.workout_bpm_curve": (
        "user_id bigint, workout_id bigint, session_id bigint, minute bigint, "
        "num_readings bigint, min_bpm double, avg_bpm double, max_bpm double"
    ),
    "gold.server_weekly": (
        "server_id bigint, week_start date, devices_peak bigint, devices bigint, "
        "usage_rate_p95 double, share_of_time_short double, devices_peak_change bigint, "
        "devices_change bigint, usage_rate_p95_change double, share_of_time_short_change double"
    ),
}
_COMING_COLUMNS = {"gold.heavy_users": "others_share_of_time_short double"}
_TYPES = {"timestamp": "timestamptz"}


def declared() -> dict[str, str]:
    """The columns of each mart, `gold.<mart>`, as its YAML declares them, in DuckDB's types."""
    tables = _OTHERS | _COMING
    for file in sorted((PROJECT / "models" / "marts").glob("*/_*__models.yml")):
        for model in yaml.safe_load(file.read_text())["models"]:
            tables[f"gold.{model['name']}"] = ", ".join(
                f"{column['name']} {_TYPES.get(column['data_type'], column['data_type'])}"
                for column in model["columns"]
            )
    for table, column in _COMING_COLUMNS.items():
        if column not in tables[table]:
            tables[table] += f", {column}"
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
        """Asks, as `lakehouse.alerts.asking` does."""

        def ask(sql: str) -> list[Row] | None:
            try:
                answer = self._connection.cursor().execute(sql).to_arrow_table()
            except duckdb.CatalogException:
                return None
            columns, rows = reading.rows_of(answer)
            return [dict(zip(columns, row, strict=True)) for row in rows]

        return ask
