"""Upkeep of the tables: small files made large, old files and old log entries removed.

What somebody still reads is kept: the versions of a mart that `gold` shows and that was built last,
and the versions of a change feed that a model has yet to read. Delta's VACUUM and its own log
clean-up know nothing of them, and the clean-up works by whole days, which the 17,000 commits of a
day of the live loop outgrow; so it is off (see `lakehouse.engine.process`), and this does it.

A mart of which readers see the newest version is compacted, and readers are shown the compacted
one; any other is left as it is until it is published.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from ingestion.bronze import AUDIT_TABLES
from ingestion.faults import LoadError, first_line
from ingestion.gate import GateError
from ingestion.loads import Loads, only_ingestion
from ingestion.lock import LockedError
from ingestion.stored import Place, place_of
from lakehouse.domains import (
    JOURNAL,
    UPKEEP,
    append_state,
    shown_versions,
    states_of,
    tables_of,
)
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings

SCHEMAS = ("bronze", "silver", "snapshots", "gold_build", "audit")
# How long versions are kept that nobody reads: for long queries, and for going back.
RETAIN_HOURS = 168
# How long it is kept how each run went: a loop that builds all day writes some 300,000 rows a day.
RESULTS = "audit.run_results"
RETAIN_RESULTS_DAYS = 90
# What may fail while the rest has its turn.
FAILURES = (PySparkException, LoadError, GateError, LakehouseError, OSError)
# How often a table has its turn in a loop.
_TURN_SECONDS = 60.0
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
        align_views(spark)
        for table in delta_tables(spark):
            try:
                done.append(keep_up(spark, table, retain_hours))
            except FAILURES as error:
                failures.append(f"{table}: {first_line(error)}")
        try:
            archived = Loads(spark, settings.paths, local.declared_tables()).forget()
        except FAILURES as error:
            failures.append(first_line(error))
    return done, archived, failures


def delta_tables(spark: SparkSession) -> list[str]:
    """Every Delta table of the lakehouse, `<schema>.<table>`."""
    return [f"{schema}.{name}" for schema in SCHEMAS for name in sorted(tables_of(spark, schema))]


def keep_up(spark: SparkSession, table: str, retain_hours: int = RETAIN_HOURS) -> Upkeep:
    """Compacts a table and removes what it no longer has; of some of dbt's own, old rows.

    Args:
        spark: A session on the engine.
        table: `<schema>.<table>`.
        retain_hours: How long files are kept that the table no longer has, longer where
            somebody reads them; at most `RETAIN_HOURS`, since for longer Delta does not remember
            them. Superseded rows of the journal are kept for `RETAIN_HOURS`, results of runs for
            `RETAIN_RESULTS_DAYS`.

    Raises:
        PySparkException: The engine failed; readers of the table find what they found.
    """
    if table == JOURNAL:
        _forget_superseded(spark)
    elif table == RESULTS:
        _forget_results(spark)
    [detail] = spark.sql(f"describe detail {table}").collect()
    folder = place_of(detail["location"])
    log = folder / "_delta_log"
    live, compacted = detail["numFiles"], 0
    read = set(_versions_read(spark, table))
    if live > 1 and (not table.startswith("gold_build.") or read <= {_newest(spark, table)}):
        [[metrics]] = spark.sql(f"optimize {table}").select("metrics").collect()
        compacted = metrics["numFilesRemoved"]
        live += metrics["numFilesAdded"] - compacted
        if compacted and table.startswith("gold_build."):
            _pin_anew(spark, table)
            read = set(_versions_read(spark, table))
    oldest = min(read, default=None)
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


class TablesKeptUp:
    """The upkeep of tables in a loop: one of each kind a minute.

    Those of ingestion are one kind, which the loop alone writes; those that dbt writes have to wait
    until no build is under way, and keep none of the others waiting.

    Args:
        settings: The installation.
        say: Told what was left alone or failed.
        forget_files: Archives the landed files that bronze has.
        retain_hours: As in `keep_up`.
    """

    def __init__(
        self,
        settings: Settings,
        say: Callable[[str], None],
        forget_files: Callable[[], object],
        retain_hours: int,
    ) -> None:
        self._settings = settings
        self._say = say
        self._forget_files = forget_files
        self._retain_hours = retain_hours
        # By whether dbt writes them; the one whose turn is next first.
        self._due: dict[bool, list[str]] = {False: [], True: []}
        self._next_at = time.monotonic() + _TURN_SECONDS

    def go_on(self) -> None:
        """Sees to the next tables, if it is time; before ingestion's first, to the landed files."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _TURN_SECONDS
        for is_of_dbt, due in self._due.items():
            name = due[0] if due else "landing"
            try:
                spark = local.session(self._settings)
                with local.only_build(self._settings) if is_of_dbt else nullcontext():
                    if due:
                        due.pop(0)
                        if note := keep_up(spark, name, self._retain_hours).note:
                            self._say(f"{name}: {note}")
                        continue
                due += [name for name in delta_tables(spark) if _is_of_dbt(name) == is_of_dbt]
                if not is_of_dbt:
                    self._forget_files()
            except LockedError:
                pass  # its turn comes again
            except FAILURES as error:
                self._say(f"The upkeep of {name} failed: {first_line(error)}")


def _is_of_dbt(table: str) -> bool:
    return not table.startswith("bronze.") and table not in AUDIT_TABLES


def _forget_superseded(spark: SparkSession) -> None:
    """Deletes the rows of the journal that others of their domain have superseded long ago."""
    spark.sql(
        f"merge into {JOURNAL} as row using ("
        f"select domain, max(number) as number from {JOURNAL} "
        f"where recorded_at < timestampadd(hour, -{RETAIN_HOURS}, current_timestamp()) "
        "group by domain) as last "
        "on row.domain = last.domain and row.number < last.number "
        "when matched then delete"
    ).collect()


def _forget_results(spark: SparkSession) -> None:
    """Deletes what is kept of runs of long ago; where there is none, it writes nothing."""
    spark.sql(
        f"delete from {RESULTS} where "
        f"recorded_at < timestampadd(day, -{RETAIN_RESULTS_DAYS}, current_timestamp())"
    ).collect()


def sizes_told(log: Place) -> list[Place]:
    """What Delta writes beside each version of a table, its size among it, the newest last.

    Args:
        log: The folder `_delta_log` of the table.
    """
    return sorted(path for path in log.glob("*.crc") if path.stem.isdigit())


def clean_log(log: Place, oldest_read: int | None, retain_hours: int) -> int:
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
    """The versions of a table that its readers ask for by number, and of a mart the one built."""
    schema, name = table.split(".")
    kinds = {"gold_build": ("gold", "marts"), "silver": ("feeds",)}.get(schema, ())
    for state in states_of(spark).values() if kinds else ():
        yield from (state.versions(kind)[name] for kind in kinds if name in state.versions(kind))
    if schema == "gold_build":
        yield from (version for mart, version in shown_versions(spark).items() if mart == name)


def _newest(spark: SparkSession, table: str) -> int:
    [row] = spark.sql(f"describe history {table} limit 1").collect()
    version: int = row["version"]
    return version


def pin(spark: SparkSession, marts: Mapping[str, int]) -> None:
    """Shows readers these versions of marts, with the columns that they have, unless they do."""
    shown = shown_versions(spark)
    for mart, version in marts.items():
        if shown.get(mart, version) != version:
            rows = f"from gold_build.{mart} version as of {version}"
            columns = ", ".join(spark.sql(f"select * {rows}").columns)
            spark.sql(f"alter view gold.{mart} as select {columns} {rows}")


def _pin_anew(spark: SparkSession, table: str) -> None:
    """Writes down that a mart's newest version, which holds the same rows, is the published one."""
    mart = table.split(".")[1]
    for domain, state in states_of(spark).items():
        if mart in state.versions("gold"):
            version = _newest(spark, table)
            details = state.details | {
                of: state.versions(of) | {mart: version} for of in ("gold", "marts")
            }
            row = replace(state, number=state.number + 1, details=details)
            append_state(spark, domain, row, UPKEEP)
            pin(spark, {mart: version})


def align_views(spark: SparkSession) -> None:
    """Shows readers what is written down as published, should a kill have come in between."""
    published = (state.versions("gold") for state in states_of(spark).values())
    pin(spark, {mart: version for gold in published for mart, version in gold.items()})


def _hours_since_replaced(log: Place, version: int) -> float | None:
    """How long a version has not been the newest; None if it is."""
    successor = log / f"{version + 1:020}.json"
    return (time.time() - successor.stat().st_mtime) / 3600 if successor.exists() else None


def _count(folder: Place) -> int:
    return sum(1 for path in folder.rglob("*.parquet") if "_delta_log" not in path.parts)
