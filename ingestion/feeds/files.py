"""Files: from the inbox through the gate to landing, and from there as a stream into bronze.

inbox --gate--> landing --availableNow--> bronze     audit.files: every file and its fate
└-> quarantine
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from ingestion import bronze
from ingestion.checkpoint import begin_anew, is_begun, note_of
from ingestion.declaration import SourceTable
from ingestion.faults import LoadError, is_of_the_engine, told
from ingestion.feed import Feed, SoFar, SourceLoad, with_parts
from ingestion.gate import (
    GateError,
    Inspection,
    StillBeingWritten,
    archive_landed,
    discard,
    inspect,
    land,
    landed_files,
    quarantine,
    waiting_files,
    withdrawn,
)
from ingestion.home import Home
from ingestion.landed import read_files, unreadable_files
from ingestion.stored import Place

# What the reason of a file begins with that has landed and gone to quarantine after all.
_UNREADABLE = "the engine cannot read it: "
# How long a delivery may take before what is there of it is taken in.
_PATIENCE_SECONDS = 1.0


class Files(Feed):
    """What is delivered into the inbox, a folder a table."""

    def __init__(
        self, spark: SparkSession, home: Home, tables: Sequence[SourceTable], so_far: SoFar
    ) -> None:
        super().__init__(spark, home, tables, so_far)
        # A part of a table has folders of its own.
        self._folders = with_parts(tables)
        for table in self._folders:
            (home.inbox / table.folder).mkdir(parents=True, exist_ok=True)
        self._known = self._taken_in()
        self._withdrawn = {
            (row["source"], row["sha256"])
            for row in spark.sql(
                "select distinct source, sha256 from audit.files "
                f"where status = 'quarantined' and reason like '{_UNREADABLE}%'"
            ).collect()
        }
        self._untold = self._refused_untold() if so_far.unfinished else []
        self._found: list[Inspection] = []
        self._seen: list[Path] = []
        self._seen_since = 0.0

    def waits_since(self, but: Collection[str]) -> float | None:
        """Since when files wait: one delivery may be several, so that not before it is still.

        A stream of files that never ends is not waited for.
        """
        files: list[Path] = []
        for table in self._folders:
            if table.full_name not in but:
                with suppress(GateError):  # the round tells of it, with the other sources' news
                    files += waiting_files(self.home, table)
        before, self._seen = self._seen, files
        now = time.monotonic()
        if not before:
            self._seen_since = now
        if files and (files == before or now - self._seen_since > _PATIENCE_SECONDS):
            times = []
            for path in files:
                with suppress(OSError):  # it is gone, or the round tells of it
                    # The rename into the inbox, not the writing before it; of a link its own.
                    times.append(path.lstat().st_ctime)
            return min(times, default=time.time())
        return None

    def news(self, but: Collection[str]) -> dict[str, str | None]:
        """The sources that files wait for; each file is read to its end."""
        faults: dict[str, str] = {}
        tables = [table for table in self._folders if table.full_name not in but]
        found = [found for table in tables for found in self._inspect(table, faults)]
        self._found = self._without_seen_paths(found, faults)
        return {found.table.full_name: None for found in self._found} | faults

    def begin(self, load_id: int, loads: Mapping[str, SourceLoad]) -> set[str]:
        """Writes the files' fates down and moves them: to landing, quarantine, or nowhere."""
        self._seen = []
        fates = self._fates(self._found)
        self._record_fates(load_id, fates)
        left = self._move(fates, loads)
        self._record_fates(load_id, [(found, "left") for found in left])
        return {found.table.full_name for found, _ in fates}

    def take_in(self, load_id: int, loads: Mapping[str, SourceLoad]) -> None:
        """Runs the streams of all these tables side by side; each fails for itself."""
        tables = [table for table in self._folders if table.full_name in loads]
        queries = []
        for table in tables:
            try:
                self._check_checkpoint(table)
                queries.append((table, self._append(table, load_id)))
            except (PySparkException, LoadError) as error:
                loads[table.full_name].fail(self.name, told(error))
        failed: list[tuple[SourceTable, PySparkException]] = []
        for table, query in queries:
            try:
                query.awaitTermination()
            except PySparkException as error:
                failed.append((table, error))
        for table, cause in failed:
            load = loads[table.full_name]
            if fault := self._set_aside(table, load, load_id, cause):
                load.fail(self.name, told(fault))
        for source, name, reason in self._untold:
            # A crash may have kept it from its way into quarantine, so that this load refused it.
            if source in loads and (name, reason) not in loads[source].quarantined:
                loads[source].quarantined.append((name, reason))
        self._untold = [one for one in self._untold if one[0] not in loads]

    def _append(self, table: SourceTable, load_id: int) -> StreamingQuery:
        rows = read_files(self.spark, table, self.home)
        return bronze.append(rows, table, self.home.checkpoints / table.folder, load_id)

    def _inspect(self, table: SourceTable, faults: dict[str, str]) -> Iterator[Inspection]:
        """Looks at what waits; a file that cannot be read is a fault of its source alone."""
        try:
            for path in waiting_files(self.home, table):
                try:
                    yield inspect(path, table, self.home.inbox / table.folder)
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
            found.table.folder: found.table
            for found in inspections
            if not found.reason and (found.table.full_name, found.sha256) in self._withdrawn
        }
        for table in again.values():
            if table.full_name not in self.so_far.unfinished:
                try:
                    self._forget_files_of(table)
                except (LoadError, GateError) as error:
                    faults[table.full_name] = str(error)
        cannot = self.so_far.unfinished.keys() | faults.keys()
        waiting = {table.full_name for table in again.values()} & cannot
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
        bronze.record(
            self.spark,
            "audit.files",
            [
                (
                    found.table.full_name,
                    found.name,
                    found.sha256,
                    found.size_bytes,
                    found.num_rows,
                    fate,
                    found.told,
                    load_id,
                    now,
                )
                for found, fate in fates
            ],
        )

    def _move(
        self, fates: list[tuple[Inspection, str]], loads: Mapping[str, SourceLoad]
    ) -> list[Inspection]:
        """Moves every file to where its fate says.

        Returns:
            The files that have not landed although they were to.
        """
        left = []
        for found, fate in fates:
            load = loads[found.table.full_name]
            try:
                if fate == "quarantined":
                    quarantine(self.home, found)
                    load.quarantined.append((found.name, found.reason or ""))
                elif fate == "duplicate":
                    # Unless the file that it doubles was replaced before it could land.
                    if (load.source, found.sha256) in self._known:
                        discard(found)
                        load.duplicates += 1
                else:
                    land(self.home, found)
                    load.landed += 1
                    self._known.add((load.source, found.sha256))
                    load.waiting += found.num_rows or 0
                    if str(found.drift):
                        load.drifts[found.drift] += found.num_rows or 0
                continue
            except StillBeingWritten:
                pass  # replaced since it was inspected: the new one's turn is the next round
            except GateError as error:
                load.fail(self.name, str(error))
            if fate == "landed":
                left.append(found)
        return left

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

    def _taken_in(self) -> set[tuple[str, str]]:
        """The source and digest of every file that has landed.

        A crash may have kept a file from landing that is written down as landed; that is made good.
        """
        fates = self.spark.sql(
            "select source, sha256, max(load_id) as load_id, "
            # By the order of the loads, not by a clock that may be set back.
            "max_by(status, struct(load_id, status <> 'landed')) as status "
            "from audit.files where status in ('landed', 'left') group by source, sha256"
        ).collect()
        landed = [row for row in fates if row["status"] == "landed"]
        finished = self.so_far.finished
        unsure = [row for row in landed if row["load_id"] > finished.get(row["source"], 0)]
        # What a kill has kept from its way into quarantine is in landing, and so known.
        set_aside = [row for row in fates if row["status"] == "left"]
        there: dict[str, set[str]] = defaultdict(set)
        for table in self._folders if unsure or set_aside else ():
            there[table.full_name] |= landed_files(self.home, table.folder).keys()
        landed += [row for row in set_aside if row["sha256"] in there[row["source"]]]
        left = [row for row in unsure if row["sha256"] not in there[row["source"]]]
        now = datetime.now(UTC)
        bronze.record(
            self.spark,
            "audit.files",
            [
                (row["source"], None, row["sha256"], None, None, "left", None, row["load_id"], now)
                for row in left
            ],
        )
        return {(row["source"], row["sha256"]) for row in landed if row not in left}

    def _refused_untold(self) -> list[tuple[str, str, str]]:
        """The source, name and reason of what loads refused that were broken off before they told.

        The load that goes on with such a source tells of it.
        """
        refused = self.spark.sql(
            "select distinct files.source, name, reason from audit.files as files left join ("
            "select source, max(load_id) as closed from audit.loads "
            "where status in ('finished', 'failed') group by source) as loads "
            "on files.source = loads.source "
            "where status = 'quarantined' and load_id > coalesce(closed, 0)"
        ).collect()
        return sorted((row["source"], row["name"], row["reason"]) for row in refused)

    def _set_aside(
        self, table: SourceTable, load: SourceLoad, load_id: int, error: PySparkException
    ) -> Exception | None:
        """Puts landed files that the engine cannot read into quarantine, and takes in the others.

        The stream has planned a batch with all of them. Of that it reads again what is still there,
        under the same number, so that a kill at any moment leaves the same work to do.

        Returns:
            What has failed in the end: the stream's error where no file is at fault.
        """
        if is_of_the_engine(error):
            return error
        try:
            rows = self._of_unfinished_loads(table, load_id)
            unreadable = unreadable_files(self.spark, table, self.home, list(rows))
            if not unreadable:
                return error
            refused = [
                withdrawn(self.home, table, path, f"{_UNREADABLE}{cause}")
                for path, cause in unreadable.items()
            ]
            fates = [(found, fate) for found in refused for fate in ("quarantined", "left")]
            self._record_fates(load_id, fates)
            for found in refused:
                quarantine(self.home, found)
                load.quarantined.append((found.name, found.reason or ""))
                self._known.discard((load.source, found.sha256))
                self._withdrawn.add((load.source, found.sha256))
                if (num_rows := rows[found.path]) is not None:
                    load.landed -= 1
                    load.waiting -= num_rows
            self._append(table, load_id).awaitTermination()
        except (GateError, StillBeingWritten, OSError, PySparkException) as fault:
            return fault
        return None

    def _of_unfinished_loads(self, table: SourceTable, load_id: int) -> dict[Place, int | None]:
        """The landed files of the loads that a source has not finished.

        Returns:
            The files, with the rows of those that this load has brought.
        """
        files = self.spark.sql(
            "select sha256, max(load_id) as load_id, max_by(num_rows, load_id) as num_rows "
            f"from audit.files where source = '{table.full_name}' and status = 'landed' "
            "and load_id > (select coalesce(max(load_id), 0) from audit.loads "
            f"where source = '{table.full_name}' and status = 'finished') group by sha256"
        ).collect()
        landed = landed_files(self.home, table.folder)
        return {
            landed[row["sha256"]]: row["num_rows"] if row["load_id"] == load_id else None
            for row in files
            if row["sha256"] in landed
        }

    def _check_checkpoint(self, table: SourceTable) -> None:
        checkpoint = self.home.checkpoints / table.folder
        if is_begun(checkpoint):
            return
        if self._rows_since(table, _last_forgotten(checkpoint)).limit(1).count():
            raise LoadError(
                f"{checkpoint} is missing although {table.bronze_name} has rows: taking the files "
                "in again would double them. Put the folder back from a copy."
            )

    def _rows_since(self, table: SourceTable, load_id: int) -> DataFrame:
        return self.spark.table(table.bronze_name).where(
            f"_load_id > {load_id} and _source_sha256 is not null and {table.rows}"
        )

    def forget(self) -> int:
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
        for table in self._folders:
            # Nor is it finished where another way in alone has failed, and bronze has all files:
            # `_taken_in` looks in landing for those of each load that is not.
            if table.full_name not in self.so_far.unfinished:
                try:
                    num_files += self._forget_files_of(table)
                except LoadError as error:
                    failures.append(str(error))
        if failures:
            raise LoadError(" ".join(failures))
        return num_files

    def _forget_files_of(self, table: SourceTable) -> int:
        checkpoint = self.home.checkpoints / table.folder
        if not is_begun(checkpoint):
            return 0
        self._check_bronze(table, checkpoint)
        num_files = archive_landed(self.home, table.folder)
        # The last load of the files that it knew.
        begin_anew(checkpoint, str(self.so_far.last_load_id))
        return num_files

    def _check_bronze(self, table: SourceTable, checkpoint: Place) -> None:
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
            for row in self.spark.sql(
                f"select sha256 from audit.files where source = '{table.full_name}' "
                f"and status = 'landed' and num_rows > 0 and load_id > {load_id}"
            ).collect()
        }
        if lacking := sorted(landed_files(self.home, table.folder).keys() & with_rows - held):
            raise LoadError(
                f"{table.bronze_name} has no row of {len(lacking)} files in "
                f"{self.home.landing / table.folder}, the first {lacking[0][:12]}...: their "
                f"checkpoint {checkpoint} is not the one that belongs to the table"
            )


def _last_forgotten(checkpoint: Place) -> int:
    """The last load whose files a checkpoint has been made to forget; 0 if there was none."""
    return int(note_of(checkpoint) or 0)
