"""Years of old files, in bounded batches: the inbox is served between them.

    FOLDER --copies--> inbox/<source>.<table>/history-<of the folder>/ --a load--> bronze

What a batch has brought stands in `audit.files` under the name that it was delivered by, so that a
stop at any point costs one batch at most.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pyspark.sql import SparkSession

from ingestion.declaration import SourceTable
from ingestion.gate import accepted_name, display_name
from ingestion.home import Home
from ingestion.loads import Load, Loads
from lakehouse.errors import LakehouseError

# What one batch may hold: some seconds of work, and what has arrived waits no longer.
_BATCH_BYTES = 128 * 1024**2
_BATCH_FILES = 500
# After so many batches the streams forget the files that they have read.
_BATCHES_KNOWN = 20


@dataclass(frozen=True)
class Proof:
    """What has become of a folder's files.

    Attributes:
        files: How many there are.
        rows: The rows of those that the gate let in, as it counted them.
        rows_in_bronze: The rows that bronze has of them.
        doubles: How many had the bytes of a file taken in before.
        refused: The names of those in quarantine, each with its reason.
    """

    files: int
    rows: int
    rows_in_bronze: int
    doubles: int
    refused: list[tuple[str, str]]


class History:
    """The files below a folder, on their way into one table.

    Args:
        spark: A session.
        home: The home.
        table: The table that they belong to.
        folder: The folder; it is left as it is.

    Raises:
        LakehouseError: There is no file in it.
    """

    def __init__(self, spark: SparkSession, home: Home, table: SourceTable, folder: Path) -> None:
        self._spark = spark
        self._table = table
        digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
        self._prefix = f"history-{digest}"
        self._inbox = home.inbox / table.full_name / self._prefix
        # By their names in `audit.files`: where each is delivered, and where it is.
        self._files: dict[str, tuple[str, Path]] = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = "/".join(accepted_name(part) for part in path.relative_to(folder).parts)
                known = display_name(os.fsencode(name))
                if known in self._files:
                    raise LakehouseError(
                        f"{path} and {self._files[known][1]} would be delivered under one name. "
                        "Rename one."
                    )
                self._files[known] = (name, path)
        if not self._files:
            raise LakehouseError(f"There is no file in {folder}.", exit_code=2)

    def take_in(self, loads: Loads, show: Callable[[str], None]) -> Iterator[Load]:
        """Takes in what has not been taken in yet, with whatever else waits.

        A way in that goes on with a long read of its own goes on between the batches, too, and ends
        with them; one that fails is not asked again.

        Args:
            loads: The loads of the home.
            show: Told how far it is.

        Yields:
            Each load.
        """
        done = self._fates().keys()
        # What a stop has left in the inbox is whole, and comes first.
        waiting = [
            (name, path)
            for known, (name, path) in self._files.items()
            if known not in done and not (self._inbox / name).exists()
        ]
        total = sum(path.stat().st_size for _, path in waiting) or 1
        began, num_bytes, num_rows = time.monotonic(), 0, 0
        failed: set[tuple[str, str]] = set()
        for number, batch in enumerate([[], *_batches(waiting)]):
            self._deliver(batch)
            if load := loads.run(failed):
                yield load
                failed |= load.failed
                for source in load.sources:
                    if source.source == self._table.full_name:
                        num_rows += source.rows or 0
                        if fault := source.faults.get("files"):
                            raise LakehouseError(f"{fault} Run it again: it goes on.")
            num_bytes += sum(path.stat().st_size for _, path in batch)
            if num_bytes:
                left = (time.monotonic() - began) * (total / num_bytes - 1)
                show(f"{num_rows:,} rows, {num_bytes / total:.0%}, {left / 60:.0f} min left")
            if number % _BATCHES_KNOWN == _BATCHES_KNOWN - 1:
                loads.forget()

    def _deliver(self, batch: list[tuple[str, Path]]) -> None:
        for name, path in batch:
            target = self._inbox / name
            target.parent.mkdir(parents=True, exist_ok=True)
            # The name may be as long as one can be.
            hidden = hashlib.sha256(os.fsencode(target.name)).hexdigest()
            copy = target.with_name(f".{hidden}.part")
            shutil.copyfile(path, copy)
            copy.replace(target)

    def prove(self) -> Proof:
        """Compares what the files hold with what bronze and quarantine have of them.

        Raises:
            LakehouseError: A file is neither in bronze nor in quarantine, or not whole.
        """
        fates = self._fates()
        if lacking := sorted(self._files.keys() - fates.keys()):
            raise LakehouseError(
                f"{len(lacking)} files have not been taken in, the first {lacking[0]}. "
                "Run it again."
            )
        of_these = {name: fates[name] for name in self._files}
        landed = {sha256: rows for fate, sha256, rows, _ in of_these.values() if fate == "landed"}
        proof = Proof(
            files=len(of_these),
            rows=sum(landed.values()),
            rows_in_bronze=self._rows_in_bronze(),
            doubles=sum(status == "duplicate" for status, *_ in of_these.values()),
            refused=[
                (name, reason)
                for name, (status, _, _, reason) in of_these.items()
                if status == "quarantined"
            ],
        )
        if proof.rows != proof.rows_in_bronze:
            raise LakehouseError(
                f"The files hold {proof.rows:,} rows, but {self._table.bronze_name} has "
                f"{proof.rows_in_bronze:,} of them."
            )
        return proof

    def _fates(self) -> dict[str, tuple[str, str, int, str]]:
        """By name: status, sha256, rows and reason of the files that have met their fate."""
        rows = self._spark.sql(
            "select name, max_by(struct(status, sha256, coalesce(num_rows, 0) as num_rows, "
            "coalesce(reason, '') as reason), recorded_at) as fate from audit.files "
            f"where source = '{self._table.full_name}' and startswith(name, '{self._prefix}/') "
            "and status <> 'left' group by name"
        ).collect()
        return {row["name"].removeprefix(f"{self._prefix}/"): tuple(row["fate"]) for row in rows}

    def _rows_in_bronze(self) -> int:
        [row] = self._spark.sql(
            f"select count(*) as num_rows from {self._table.bronze_name} where _source_sha256 in ("
            f"select sha256 from audit.files where source = '{self._table.full_name}' "
            f"and startswith(name, '{self._prefix}/') and status = 'landed')"
        ).collect()
        return int(row["num_rows"])


def _batches(files: list[tuple[str, Path]]) -> Iterator[list[tuple[str, Path]]]:
    batch: list[tuple[str, Path]] = []
    size = 0
    for name, path in files:
        batch.append((name, path))
        size += path.stat().st_size
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
