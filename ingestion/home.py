"""The folder that holds all state of one installation, and the names of the folders in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ingestion.stored import Place, Stored


@dataclass(frozen=True)
class Home:
    """The folders below `LAKEHOUSE_HOME`. Point it at an empty folder for a separate lakehouse.

    Attributes:
        root: The home itself, an absolute path.
        storage: Where the tables, the landed files and the streams' memory are, where they are not
            in the home: on a cluster, whose workers and other drivers do not see this disk.
    """

    root: Path
    storage: Stored | None = None

    @property
    def inbox(self) -> Path:
        """Where files are delivered: `inbox/<source>.<table>/`, subfolders allowed."""
        return self.root / "inbox"

    @property
    def shared(self) -> Place:
        """The folder of what all that work on the tables have to see."""
        return self.storage or self.root

    @property
    def landing(self) -> Place:
        """Where files stand that have passed the gate, under content names."""
        return self.shared / "landing"

    @property
    def archive(self) -> Place:
        """Where landed files go that bronze has, by table and day; nothing reads them again."""
        return self.shared / "archive"

    @property
    def aside(self) -> Path:
        """Where the gate writes down what it then moves: below the archive, if that is here."""
        return self.root / "archive"

    @property
    def quarantine(self) -> Path:
        """Where refused files stand, each beside a file with the reason."""
        return self.root / "quarantine"

    @property
    def warehouse(self) -> Place:
        """The Delta tables."""
        return self.shared / "warehouse"

    @property
    def tables_here(self) -> Path | None:
        """The Delta tables where they lie on this disk; None where they are in storage."""
        return self.warehouse if isinstance(self.warehouse, Path) else None

    @property
    def metastore(self) -> Path:
        """The local engine's catalog (Derby)."""
        return self.root / "metastore"

    @property
    def checkpoints(self) -> Place:
        """Structured Streaming's own memory of what it has read, a folder a bronze table."""
        return self.shared / "checkpoints"

    @property
    def memory(self) -> Path:
        """What this machine alone remembers of ingestion: the lock, and rows that were pulled."""
        return self.root / "checkpoints"

    @property
    def logs(self) -> Path:
        """Logs of the engine and of dbt."""
        return self.root / "logs"

    @property
    def alerts(self) -> Path:
        """What `lakehouse alerts --follow` has told."""
        return self.root / "alerts"

    @property
    def site(self) -> Path:
        """The pages of `lakehouse report`."""
        return self.root / "site"
