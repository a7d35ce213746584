"""Upkeep of the tables: small files made large, old files and old log entries removed.

What somebody still reads is kept: the version of a mart that `gold` shows, and the versions of a
change feed that a model has yet to read. Delta's VACUUM and its own log clean-up know nothing of
either, and the clean-up works by whole days, which the 17,000 commits of a day of the live loop
outgrow; so it is off (see `lakehouse.engine.process`), and this does it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from ingestion.gate import GateError
from ingestion.loads import LoadError, Loads, first_line, only_ingestion
from lakehouse.engine import local
from lakehouse.settings import Settings

SCHEMAS = ("bronze", "silver", "snapshots", "gold_build", "audit")
# How long versions are kept that nobody reads: for long queries, and for going back.
RETAIN_HOURS = 168
# Of these, builds read the last row of each name: the name's column and the moment's.
_JOURNALS = {
    "audit.watermarks": ("model", "recorded_at"),
    "audit.publications": ("mart", "published_at"),
}
_PINNED = re.compile(r"version as of (\d+)", re.IGNORECASE)
_OF_VERSION = re.compile(r"\.?(\d{20})\.")


@dataclass(frozen=True)
class Upkeep:
    """What was done for a table.

    Attributes:
        table: `<schema>.<table>`.
        compacted: How many small files were made into larger ones.
        removed: How many files were removed that the table no longer had.
        log_entries: How many files of its log were removed.
        note: Why something was left; else empty.
    """

    table: str
    compacted: int
    removed: int
    log_entries: int
    note: str = ""


def maintain(
    settings: Settings, retain_hours: int = RETAIN_HOURS
) -> tuple[list[Upkeep], int, list[str]]:
    """Keeps every table up, and archives the landed files that bronze has.

    What fails is left as it was, and keeps nothing else from its turn.

    Args:
        settings: The installation; its engine is started where need be.
        retain_hours: As in `keep_up`.

    Returns:
        What was done for each table, how many landed files were archived, and what failed.

    Raises:
        LockedError: Another process ingests into this home, or builds in it.
    """
    spark = local.session(settings)
    done, archived, failures = [], 0, []
    with only_ingestion(settings.paths), local.only_build(settings):
        for table in delta_tables(spark):
            try:
                done.append(keep_up(spark, table, retain_hours))
            except (PySparkException, OSError) as error:
                failures.append(f"{table}: {first_line(error)}")
        try:
            archived = Loads(spark, settings.paths, local.declared_tables()).forget_files()
        except (LoadError, GateError) as error:
            failures.append(str(error))
    return done, archived, failures


def delta_tables(spark: SparkSession) -> list[str]:
    """Every Delta table of the lakehouse, `<schema>.<table>`."""
    tables = []
    for schema in SCHEMAS:
        if spark.catalog.databaseExists(schema):
            views = {row["viewName"] for row in spark.sql(f"show views in {schema}").collect()}
            names = {row["tableName"] for row in spark.sql(f"show tables in {schema}").collect()}
            tables += [f"{schema}.{name}" for name in sorted(names - views)]
    return tables


def keep_up(spark: SparkSession, table: str, retain_hours: int = RETAIN_HOURS) -> Upkeep:
    """Compacts a table and removes what it no longer has; of a journal, rows that are superseded.

    Args:
        spark: A session on the engine.
        table: `<schema>.<table>`.
        retain_hours: How long files are kept that the table no longer has, longer where
            somebody reads them; at most `RETAIN_HOURS`, since for longer Delta does not remember
            them. Superseded rows of a journal are kept for `RETAIN_HOURS`.

    Raises:
        PySparkException: The engine failed; readers of the table find what they found.
    """
    if table in _JOURNALS:
        _forget_superseded(spark, table)
    [detail] = spark.sql(f"describe detail {table}").collect()
    folder = Path(detail["location"].removeprefix("file:"))
    log = folder / "_delta_log"
    live, compacted = detail["numFiles"], 0
    if live > 1:
        [[metrics]] = spark.sql(f"optimize {table}").select("metrics").collect()
        compacted = metrics["numFilesRemoved"]
        live += metrics["numFilesAdded"] - compacted
    oldest = min(_versions_read(spark, table), default=None)
    removed, note = 0, ""
    since = None if oldest is None else _hours_since_replaced(log, oldest)
    # What a reader needs was removed after its version; an hour or two to spare.
    hours = retain_hours if since is None else max(retain_hours, int(since) + 2)
    if hours > RETAIN_HOURS:
        note = f"not vacuumed: version {oldest} is read, and was replaced {since:.0f} h ago"
    elif (before := _count(folder)) > live:
        spark.sql(f"vacuum {table} retain {hours} hours").collect()
        removed = before - _count(folder)
    return Upkeep(table, compacted, removed, clean_log(log, oldest, retain_hours), note)


def _forget_superseded(spark: SparkSession, table: str) -> None:
    """Deletes the rows of a journal that others of their name have superseded long ago."""
    name, moment = _JOURNALS[table]
    spark.sql(
        f"merge into {table} as row using ("
        f"select {name}, max({moment}) as superseded_at from {table} "
        f"where {moment} < timestampadd(hour, -{RETAIN_HOURS}, current_timestamp()) "
        f"group by {name}) as last "
        f"on row.{name} = last.{name} and row.{moment} < last.superseded_at "
        "when matched then delete"
    ).collect()


def clean_log(log: Path, oldest_read: int | None, retain_hours: int) -> int:
    """Removes the log of versions before a checkpoint that no reader needs.

    Args:
        log: The folder `_delta_log` of a table.
        oldest_read: The oldest version that somebody reads; None if only the newest is read.
        retain_hours: How long the log is kept of versions that nobody reads.

    Returns:
        How many files were removed.
    """
    entries = [
        (int(match[1]), path) for path in log.iterdir() if (match := _OF_VERSION.match(path.name))
    ]
    long_ago = time.time() - retain_hours * 3600
    cuts = [
        version
        for version, path in entries
        if path.name.endswith(".checkpoint.parquet")
        and (oldest_read is None or version <= oldest_read)
        and path.stat().st_mtime < long_ago
    ]
    old = [path for version, path in entries if version < max(cuts, default=0)]
    for path in old:
        path.unlink()
    return len(old)


def _versions_read(spark: SparkSession, table: str) -> Iterator[int]:
    """The versions of a table that its readers ask for by number."""
    schema, name = table.split(".")
    if schema == "gold_build" and spark.catalog.tableExists(f"gold.{name}"):
        [[statement]] = spark.sql(f"show create table gold.{name}").collect()
        if pinned := _PINNED.search(statement):
            yield int(pinned[1])
    properties = spark.sql(f"show tblproperties {table}").collect()
    if ("delta.enableChangeDataFeed", "true") in [tuple(row) for row in properties]:
        for row in spark.sql(
            "select max_by(feed_version, recorded_at) as version from audit.watermarks "
            "where feed_version is not null group by model"
        ).collect():
            yield row["version"]


def _hours_since_replaced(log: Path, version: int) -> float | None:
    """How long a version has not been the newest; None if it is."""
    successor = log / f"{version + 1:020}.json"
    return (time.time() - successor.stat().st_mtime) / 3600 if successor.exists() else None


def _count(folder: Path) -> int:
    return sum(1 for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts)
