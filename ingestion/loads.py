"""A load: one round of ingestion over all sources that have news, under one number.

    inbox --gate--> landing --availableNow--> bronze     audit.files: every file and its fate
                └-> quarantine                           audit.loads: each source finished or
                                                         failed, last the load closed

A build sees closed loads only. A load that a crash leaves open is closed by the next one, which
begins when every query of the earlier has ended, so no row appears under a number already closed.
"""

from __future__ import annotations

import re
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from ingestion.bronze import AUDIT_TABLES, append, interpreted
from ingestion.declaration import SourceTable
from ingestion.feeds.files import cause_of, is_of_the_engine, read_files, unreadable_files
from ingestion.gate import (
    GateError,
    Inspection,
    StillBeingWritten,
    archive_landed,
    delivered_name,
    discard,
    inspect,
    land,
    landed_files,
    quarantine,
    waiting_files,
    withdrawn,
)
from ingestion.home import Home
from ingestion.lock import locked

# In a checkpoint that has been emptied on purpose: the last load of the files it knew.
_FORGOTTEN = "forgotten"
# What the reason of a file begins with that has landed and gone to quarantine after all.
_UNREADABLE = "the engine cannot read it: "
# How long a query that an earlier ingestion left behind may take to end, in seconds.
_PATIENCE_SECONDS = 600
# Up to so many new rows, to compile the statements that take them in costs more than they do.
_SMALL_WORK_ROWS = 200_000
# Where an error of the engine names a landed file: what follows `landing/<source>.<table>/`.
_LANDED_FILE = re.compile(r"file:\S*/landing/[a-z0-9_.]+/(\S+\.(?:csv|json|parquet|gz))\b")


class LoadError(Exception):
    """A source that cannot be taken in."""


@dataclass
class SourceLoad:
    """What one load did for one source, counted up while it runs.

    Attributes:
        source: `<source>.<table>`.
        landed: Files that passed the gate.
        rows: The rows that bronze received.
        duplicates: Files whose bytes had been taken in before.
        quarantined: Names of refused files, each with its reason.
        failure: Why the source failed; None if it did not.
    """

    source: str
    landed: int = 0
    rows: int | None = None
    duplicates: int = 0
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    failure: str | None = None


@dataclass(frozen=True)
class Load:
    """A load: its number and what it did, source by source.

    Attributes:
        load_id: Its number.
        sources: The sources that took part.
        expected: The rows that its new files hold, for the sources of which that is known.
    """

    load_id: int
    sources: list[SourceLoad]
    expected: Mapping[str, int] = field(default_factory=dict)

    @property
    def failures(self) -> list[str]:
        """What failed, a line each source."""
        return [f"{source.source}: {source.failure}" for source in self.sources if source.failure]

    @property
    def refusals(self) -> list[str]:
        """The files that went to quarantine, each with its reason, a line each."""
        return [
            f"{source.source}: {name}: {reason}"
            for source in self.sources
            for name, reason in source.quarantined
        ]


def only_ingestion(home: Home) -> AbstractContextManager[None]:
    """Holds the right to ingest into this home; it frees itself when the process ends.

    Raises:
        LockedError: Another process ingests at the moment.
    """
    return locked(home.checkpoints / "lock", f"ingests into {home.root}")


class Loads:
    """The loads of one home, one after the other, while `only_ingestion` is held.

    Args:
        spark: A session from `ingestion.bronze.connect`.
        home: The home.
        tables: The declared tables, which `ingestion.bronze.create_tables` has made.
    """

    def __init__(self, spark: SparkSession, home: Home, tables: list[SourceTable]) -> None:
        self._spark = spark
        self._home = home
        self._tables = tables
        for table in tables:
            (home.inbox / table.full_name).mkdir(parents=True, exist_ok=True)
        self._await_earlier_queries()
        last = spark.sql(
            "select source, max(load_id) as load_id, max_by(status, recorded_at) as status, "
            "coalesce(max(if(status = 'finished', load_id, null)), 0) as finished from ("
            "select source, load_id, status, recorded_at from audit.loads union all "
            # A load with files is begun with their fates.
            "select source, load_id, 'begun' as status, recorded_at from audit.files) "
            "group by source"
        ).collect()
        self._last_load_id = max((row["load_id"] for row in last), default=0)
        self._unfinished = {row["source"] for row in last if row["status"] in ("begun", "failed")}
        self._known = self._taken_in({row["source"]: row["finished"] for row in last})
        self._withdrawn = {
            (row["source"], row["sha256"])
            for row in spark.sql(
                "select distinct source, sha256 from audit.files "
                f"where status = 'quarantined' and reason like '{_UNREADABLE}%'"
            ).collect()
        }

    def run(self, but: Collection[str] = ()) -> Load | None:
        """Takes in all that waits and closes the load.

        Args:
            but: The sources that take no part in it.

        Returns:
            The load; None, and none is opened, where nothing waits.

        Raises:
            PySparkException: The engine failed outside any one source.
        """
        load = self._take_in(but)
        if load:
            self._close(load)
        return load

    def _take_in(self, but: Collection[str]) -> Load | None:
        """Takes in all that waits: when it returns, bronze has all rows of the load."""
        faults: dict[str, str] = {}
        taking_part = [table for table in self._tables if table.full_name not in but]
        inspections = [found for table in taking_part for found in self._inspect(table, faults)]
        inspections = self._without_seen_paths(inspections, faults)
        names = {found.table.full_name for found in inspections} | self._unfinished | set(faults)
        tables = [table for table in taking_part if table.full_name in names]
        if not tables:
            return None
        self._await_earlier_queries()
        load_id = self._last_load_id = self._last_load_id + 1
        loads = {
            table.full_name: SourceLoad(table.full_name, failure=faults.get(table.full_name))
            for table in tables
        }
        names = {table.full_name for table in tables}
        was_whole = names - self._unfinished
        self._unfinished |= names
        fates = self._fates(inspections)
        self._record_fates(load_id, fates)
        if not fates:  # or the load's number would be known nowhere
            self._record_loads([(load_id, name, "begun", None, None) for name in sorted(names)])
        expected, left = self._move(fates, loads)
        self._record_fates(load_id, [(found, "left") for found in left])
        is_small = was_whole == names and sum(expected.values()) <= _SMALL_WORK_ROWS
        with interpreted(self._spark, is_wanted=is_small):
            self._ingest(tables, loads, expected, load_id)
        self._await_earlier_queries()  # a client may lose a query that goes on in the engine
        return Load(
            load_id,
            list(loads.values()),
            {name: rows for name, rows in expected.items() if name in was_whole},
        )

    def _close(self, load: Load) -> None:
        """Counts what a load brought, and closes it: from now on a build sees it.

        A source that brought another number of rows than its files hold has failed.
        """
        self._count(load)
        for source in load.sources:
            expected = load.expected.get(source.source, source.rows)
            if source.rows != expected and not source.failure:
                source.failure = (
                    f"bronze received {source.rows} of {expected} rows: the checkpoint "
                    f"{self._home.checkpoints / source.source} is not the one that belongs to "
                    "the table"
                )
        num_rows = sum(source.rows or 0 for source in load.sources)
        self._record_loads(
            [
                (
                    load.load_id,
                    source.source,
                    "failed" if source.failure else "finished",
                    source.rows,
                    source.failure,
                )
                for source in load.sources
            ]
            + [(load.load_id, None, "closed", num_rows, None)]
        )
        self._unfinished -= {source.source for source in load.sources if not source.failure}

    @property
    def unfinished(self) -> set[str]:
        """The sources that their last load could not take in whole."""
        return self._unfinished

    def _inspect(self, table: SourceTable, faults: dict[str, str]) -> Iterator[Inspection]:
        """Looks at what waits; a file that cannot be read is a fault of its source alone."""
        try:
            for path in waiting_files(self._home, table):
                try:
                    yield inspect(path, table, self._home.inbox / table.full_name)
                except (StillBeingWritten, FileNotFoundError):
                    continue  # its turn is the next round
                except GateError as error:
                    faults[table.full_name] = str(error)
        except GateError as error:
            faults[table.full_name] = str(error)

    def _without_seen_paths(
        self, inspections: list[Inspection], faults: dict[str, str]
    ) -> list[Inspection]:
        """Lets the streams forget their files before one comes again that was set aside.

        It may have the same place in landing, and a stream reads no place twice. Where a stream
        cannot forget yet, the file waits.
        """
        again = {
            found.table.full_name: found.table
            for found in inspections
            if not found.reason and (found.table.full_name, found.sha256) in self._withdrawn
        }
        for name, table in again.items():
            if name not in self._unfinished:
                try:
                    self._forget_files_of(table)
                except (LoadError, GateError) as error:
                    faults[name] = str(error)
        waiting = again.keys() & (self._unfinished | faults.keys())
        return [
            found
            for found in inspections
            if found.table.full_name not in waiting
            or (found.table.full_name, found.sha256) not in self._withdrawn
        ]

    def _record_fates(self, load_id: int, fates: list[tuple[Inspection, str]]) -> None:
        """Writes every file's fate down, before it is moved.

        A crash in between is made up for by the next round, which finds the file still waiting and
        its content known but not landed.
        """
        now = datetime.now(UTC)
        self._append(
            "audit.files",
            [
                (
                    found.table.full_name,
                    found.name,
                    found.sha256,
                    found.size_bytes,
                    found.num_rows,
                    fate,
                    found.reason,
                    load_id,
                    now,
                )
                for found, fate in fates
            ],
        )

    def _move(
        self, fates: list[tuple[Inspection, str]], loads: dict[str, SourceLoad]
    ) -> tuple[dict[str, int], list[Inspection]]:
        """Moves every file to where its fate says.

        Returns:
            The new rows by source, and the files that have not landed although they were to.
        """
        expected: dict[str, int] = defaultdict(int)
        left = []
        for found, fate in fates:
            load = loads[found.table.full_name]
            try:
                if fate == "quarantined":
                    quarantine(self._home, found)
                    load.quarantined.append((found.name, found.reason or ""))
                elif fate == "duplicate":
                    # Unless the file that it doubles was replaced before it could land.
                    if (load.source, found.sha256) in self._known:
                        discard(found)
                        load.duplicates += 1
                else:
                    land(self._home, found)
                    load.landed += 1
                    self._known.add((load.source, found.sha256))
                    expected[load.source] += found.num_rows or 0
                continue
            except StillBeingWritten:
                pass  # replaced since it was inspected: the new one's turn is the next round
            except GateError as error:
                load.failure = str(error)
            if fate == "landed":
                left.append(found)
        return expected, left

    def _fates(self, inspections: list[Inspection]) -> list[tuple[Inspection, str]]:
        """What becomes of each file: landed, duplicate or quarantined."""
        fates = []
        seen: set[tuple[str, str]] = set()
        for found in inspections:
            identity = (found.table.full_name, found.sha256)
            if found.reason:
                fates.append((found, "quarantined"))
            else:
                is_double = identity in seen or identity in self._known
                fates.append((found, "duplicate" if is_double else "landed"))
                seen.add(identity)
        return fates

    def _taken_in(self, finished: Mapping[str, int]) -> set[tuple[str, str]]:
        """The source and digest of every file that has landed.

        A crash may have kept a file from landing that is written down as landed; that is made good.

        Args:
            finished: The last finished load of each source, 0 where there is none.
        """
        fates = self._spark.sql(
            "select source, sha256, max(load_id) as load_id, max_by(status, recorded_at) as status "
            "from audit.files where status in ('landed', 'left') group by source, sha256"
        ).collect()
        landed = [row for row in fates if row["status"] == "landed"]
        unsure = [row for row in landed if row["load_id"] > finished.get(row["source"], 0)]
        # What a kill has kept from its way into quarantine is in landing, and so known.
        set_aside = [row for row in fates if row["status"] == "left"]
        there = {
            source: landed_files(self._home, source)
            for source in {row["source"] for row in [*unsure, *set_aside]}
        }
        landed += [row for row in set_aside if row["sha256"] in there[row["source"]]]
        left = [row for row in unsure if row["sha256"] not in there[row["source"]]]
        now = datetime.now(UTC)
        self._append(
            "audit.files",
            [
                (row["source"], None, row["sha256"], None, None, "left", None, row["load_id"], now)
                for row in left
            ],
        )
        return {(row["source"], row["sha256"]) for row in landed if row not in left}

    def _ingest(
        self,
        tables: list[SourceTable],
        loads: dict[str, SourceLoad],
        expected: dict[str, int],
        load_id: int,
    ) -> None:
        """Runs the streams of all these tables side by side; each fails for itself."""
        queries = {}
        for table in tables:
            try:
                self._check_checkpoint(table)
                rows = read_files(self._spark, table, self._home)
                queries[table.full_name] = append(rows, table, self._home, load_id)
            except (PySparkException, LoadError) as error:
                loads[table.full_name].failure = _told(error)
        failed = []
        for name, query in queries.items():
            try:
                query.awaitTermination()
            except PySparkException as error:
                loads[name].failure = _told(error)
                failed += [] if is_of_the_engine(error) else [name]
        for table in tables:
            if table.full_name in failed:
                self._set_aside(table, loads[table.full_name], expected, load_id)

    def _set_aside(
        self, table: SourceTable, load: SourceLoad, expected: dict[str, int], load_id: int
    ) -> None:
        """Puts landed files that the engine cannot read into quarantine, and takes in the others.

        The stream has planned a batch with all of them. Of that it reads again what is still there,
        under the same number, so that a kill at any moment leaves the same work to do.
        """
        try:
            rows = self._of_unfinished_loads(table, load_id)
            unreadable = unreadable_files(self._spark, table, self._home, list(rows))
            if not unreadable:
                return
            refused = [
                withdrawn(self._home, table, path, f"{_UNREADABLE}{cause}")
                for path, cause in unreadable.items()
            ]
            fates = [(found, fate) for found in refused for fate in ("quarantined", "left")]
            self._record_fates(load_id, fates)
            for found in refused:
                quarantine(self._home, found)
                load.quarantined.append((found.name, found.reason or ""))
                self._known.discard((load.source, found.sha256))
                self._withdrawn.add((load.source, found.sha256))
                if (num_rows := rows[found.path]) is not None:
                    load.landed -= 1
                    expected[load.source] -= num_rows
            lines = read_files(self._spark, table, self._home)
            append(lines, table, self._home, load_id).awaitTermination()
            load.failure = None
        except (GateError, StillBeingWritten, OSError, PySparkException) as error:
            load.failure = _told(error)

    def _of_unfinished_loads(self, table: SourceTable, load_id: int) -> dict[Path, int | None]:
        """The landed files of the loads that a source has not finished.

        Returns:
            The files, with the rows of those that this load has brought.
        """
        files = self._spark.sql(
            "select sha256, max(load_id) as load_id, max_by(num_rows, load_id) as num_rows "
            f"from audit.files where source = '{table.full_name}' and status = 'landed' "
            "and load_id > (select coalesce(max(load_id), 0) from audit.loads "
            f"where source = '{table.full_name}' and status = 'finished') group by sha256"
        ).collect()
        landed = landed_files(self._home, table.full_name)
        return {
            landed[row["sha256"]]: row["num_rows"] if row["load_id"] == load_id else None
            for row in files
            if row["sha256"] in landed
        }

    def _count(self, load: Load) -> None:
        """Counts what bronze has under a load's number."""
        loads = {source.source: source for source in load.sources}
        counts = " union all ".join(
            f"select '{table.full_name}' as source, count(*) as num_rows "
            f"from {table.bronze_name} where _load_id = {load.load_id}"
            for table in self._tables
            if table.full_name in loads
        )
        for row in self._spark.sql(counts).collect():
            loads[row["source"]].rows = row["num_rows"]

    def _check_checkpoint(self, table: SourceTable) -> None:
        checkpoint = self._home.checkpoints / table.full_name
        if (checkpoint / f".{_FORGOTTEN}").exists():
            self._forget(checkpoint)  # a crash broke it off
        if (checkpoint / "metadata").exists():
            return
        if self._rows_since(table, _last_forgotten(checkpoint)).limit(1).count():
            raise LoadError(
                f"{checkpoint} is missing although {table.bronze_name} has rows: taking the files "
                "in again would double them. Put the folder back from a copy."
            )

    def _rows_since(self, table: SourceTable, load_id: int) -> DataFrame:
        return self._spark.table(table.bronze_name).where(f"_load_id > {load_id}")

    def forget_files(self) -> int:
        """Archives the landed files that bronze has, and lets the streams forget them.

        Else each run would look through all files that ever came. A source whose last load is
        unfinished is left alone; one of which bronze lacks rows keeps none of the others waiting.

        Returns:
            How many files went into the archive.

        Raises:
            LoadError: Bronze lacks rows of landed files; they stay where they are.
            GateError: A file cannot be moved.
        """
        num_files = 0
        failures = []
        for table in self._tables:
            if table.full_name not in self._unfinished:
                try:
                    num_files += self._forget_files_of(table)
                except LoadError as error:
                    failures.append(str(error))
        if failures:
            raise LoadError(" ".join(failures))
        return num_files

    def _forget_files_of(self, table: SourceTable) -> int:
        checkpoint = self._home.checkpoints / table.full_name
        if not (checkpoint / "metadata").exists():
            return 0
        self._check_bronze(table, checkpoint)
        num_files = archive_landed(self._home, table.full_name)
        written = checkpoint / f".{_FORGOTTEN}.part"
        written.write_text(str(self._last_load_id))
        written.replace(checkpoint / f".{_FORGOTTEN}")
        self._forget(checkpoint)
        return num_files

    def _check_bronze(self, table: SourceTable, checkpoint: Path) -> None:
        """Raises unless bronze has rows of every landed file that holds any."""
        load_id = _last_forgotten(checkpoint)
        held = {
            row["_source_sha256"]
            for row in self._rows_since(table, load_id)
            .select("_source_sha256")
            .distinct()
            .collect()
        }
        with_rows = {
            row["sha256"]
            for row in self._spark.sql(
                f"select sha256 from audit.files where source = '{table.full_name}' "
                f"and status = 'landed' and num_rows > 0 and load_id > {load_id}"
            ).collect()
        }
        if lacking := sorted(landed_files(self._home, table.full_name).keys() & with_rows - held):
            raise LoadError(
                f"{table.bronze_name} has no row of {len(lacking)} files in "
                f"{self._home.landing / table.full_name}, the first {lacking[0][:12]}...: their "
                f"checkpoint {checkpoint} is not the one that belongs to the table"
            )

    @staticmethod
    def _forget(checkpoint: Path) -> None:
        """Empties a checkpoint, but for a file with the last load that was forgotten."""
        under_way = checkpoint / f".{_FORGOTTEN}"
        (checkpoint / "metadata").unlink(missing_ok=True)  # first: without it none of it counts
        for path in checkpoint.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != under_way:
                path.unlink()
        under_way.replace(checkpoint / _FORGOTTEN)

    def _await_earlier_queries(self) -> None:
        for query in self._spark.streams.active:
            try:
                query.awaitTermination(_PATIENCE_SECONDS)
            except PySparkException:
                continue  # it has ended, which is all that matters here
            if query.isActive:
                query.stop()

    def _record_loads(
        self, rows: list[tuple[int, str | None, str, int | None, str | None]]
    ) -> None:
        now = datetime.now(UTC)
        self._append("audit.loads", [(*row, now) for row in rows])

    def _append(self, table: str, rows: list[tuple[object, ...]]) -> None:
        if rows:
            self._spark.createDataFrame(rows, AUDIT_TABLES[table]).writeTo(table).append()


def _last_forgotten(checkpoint: Path) -> int:
    """The last load whose files a checkpoint has been made to forget; 0 if there was none."""
    forgotten = checkpoint / _FORGOTTEN
    return int(forgotten.read_text()) if forgotten.exists() else 0


def _told(error: Exception) -> str:
    """Cause and cure of a source's failure; the landed file's delivered name where it is known."""
    if not isinstance(error, PySparkException):
        return first_line(error)
    cause = cause_of(error).rstrip(".")
    if named := _LANDED_FILE.search(str(error)):
        with suppress(ValueError):
            cause = f"{delivered_name(named[1])}: {cause}"
    if is_of_the_engine(error):
        return (
            f"{cause}. What waits is kept. See to space, memory and the engine (lakehouse down "
            "restarts it); the next round tries again."
        )
    return (
        f"{cause}. What waits is kept, and the next round tries again; should that not help, "
        "logs/engine.log has more."
    )


def first_line(error: Exception) -> str:
    """The first line of an error's message, at most 1,000 characters of it."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:1000]
