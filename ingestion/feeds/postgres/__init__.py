"""Tables of PostgreSQL databases: each pull is a file in the inbox, with what has changed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from pyspark.sql import SparkSession

from ingestion.declaration import SourceTable
from ingestion.feed import Feed, SoFar, settings_of_file
from ingestion.feeds.postgres.connection import PREFIX
from ingestion.feeds.postgres.declared import Postgres, pulled_part, read_declared
from ingestion.feeds.postgres.pulls import Pulls
from ingestion.home import Home

# How often the live loop pulls what has changed.
_PULL_SECONDS = 5.0


class PulledTables(Feed):
    """The tables with `landing.postgres`, of the sources of which a connection is set."""

    fills_inbox: ClassVar[bool] = True

    def __init__(
        self, spark: SparkSession, home: Home, tables: Sequence[SourceTable], so_far: SoFar
    ) -> None:
        super().__init__(spark, home, tables, so_far)
        connections = _connections()
        highest = 0
        if connections:
            ids = " union all ".join(
                f"select max(_pull_id) as pull_id from {table.bronze_name}"
                for table in tables
                if "postgres" in table.feeds
            )
            [row] = spark.sql(f"select max(pull_id) as pull_id from ({ids})").collect()
            highest = row["pull_id"] or 0
        self._pulls = Pulls(home, tables, connections, at_least=highest)
        self._is_set = bool(connections)
        self._pulled_at = time.monotonic()

    @classmethod
    def declared(cls, table: SourceTable, said: dict[str, Any]) -> Postgres:
        """Table, key, the column that tells of changes, and what becomes which column."""
        return read_declared(table, said)

    @classmethod
    def parts(cls, tables: Sequence[SourceTable]) -> list[SourceTable]:
        """Of each pulled table the part that is pulled."""
        return [pulled_part(table) for table in tables if "postgres" in table.feeds]

    @classmethod
    def setting(cls) -> tuple[str, str] | None:
        """The sources that are pulled."""
        sources = ", ".join(sorted(_connections()))
        return sources or "no database", f"{PREFIX}<SOURCE>='host=... dbname=... user=...'"

    @classmethod
    def standing(cls, home: Home, tables: Sequence[SourceTable]) -> list[dict[str, Any]]:
        """Per table: the last pull, the rows that are held, the last comparison."""
        return Pulls(home, tables, _connections()).describe()

    @property
    def goes_on(self) -> bool:
        """Whether a pull is under way."""
        return self._pulls.goes_on

    def waits_since(self, but: Collection[str]) -> float | None:
        """Now, when it is time to look; a look that finds nothing opens no load."""
        is_time = self.goes_on or time.monotonic() - self._pulled_at >= _PULL_SECONDS
        return time.time() if self._is_set and is_time else None

    def news(self, but: Collection[str]) -> dict[str, str | None]:
        """Pulls a step; what came waits in the inbox then. What could not be pulled is told."""
        self._pulled_at = time.monotonic()
        folders = {part.full_name: part.folder for part in self.parts(self.tables)}
        faults = self._pulls.pull([folders[name] for name in but if name in folders])
        return {name: faults[folder] for name, folder in folders.items() if folder in faults}

    def accept(self, source: str) -> list[str]:
        """Lets the next comparison delete what it would."""
        return self._pulls.accept(source)


def _connections() -> dict[str, str]:
    """By source, the connection that the environment or the file LAKEHOUSE_ENV_FILE sets."""
    values = settings_of_file() | dict(os.environ)
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in values.items()
        if name.startswith(PREFIX) and value
    }
