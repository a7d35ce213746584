"""The folder that holds all state of one installation, and the names of the folders in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Home:
    """The folders below `LAKEHOUSE_HOME`. Point it at an empty folder for a separate lakehouse.

    Attributes:
        root: The home itself, an absolute path.
    """

    root: Path

    @property
    def inbox(self) -> Path:
        """Where files are delivered: `inbox/<source>.<table>/`, subfolders allowed."""
        return self.root / "inbox"

    @property
    def landing(self) -> Path:
        """Where files stand that have passed the gate, under content names."""
        return self.root / "landing"

    @property
    def archive(self) -> Path:
        """Where landed files go that bronze has, by table and day; nothing reads them again."""
        return self.root / "archive"

    @property
    def quarantine(self) -> Path:
        """Where refused files stand, each beside a file with the reason."""
        return self.root / "quarantine"

    @property
    def warehouse(self) -> Path:
        """The Delta tables of the local engine."""
        return self.root / "warehouse"

    @property
    def metastore(self) -> Path:
        """The local engine's catalog (Derby)."""
        return self.root / "metastore"

    @property
    def checkpoints(self) -> Path:
        """Structured Streaming's own memory of what it has read, a folder a bronze table."""
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
