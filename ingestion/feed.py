"""What a way in is, for those who know none by name.

    news       what is new, and what keeps it from being taken in
    begin      write down what is about to come under a load's number
    take_in    bring it into bronze, and count up what came

What proves that nothing comes twice is the feed's own: a file's digest, a topic's offsets, the key
and version of a table's row.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from dotenv import dotenv_values
from pyspark.sql import SparkSession

import ingestion.feeds
from ingestion.declaration import SourceTable
from ingestion.drift import Drift
from ingestion.faults import LoadError, why_unread
from ingestion.home import Home


@dataclass
class SourceLoad:
    """What one load did for one source, counted up while it runs.

    Attributes:
        source: `<source>.<table>`.
        landed: Files that passed the gate.
        waiting: The rows that waited, as far as that is known.
        is_exact: Whether so many must come.
        rows: The rows that bronze received.
        duplicates: Files whose bytes had been taken in before.
        quarantined: Names of refused files, each with its reason.
        drifts: The rows that came with other columns than the declared ones, by how these differ.
        asked: The feeds that took part; the others are left out, having failed a while ago.
        faults: Why the source is not whole, by feed: of one that is left out, why it failed then.
        moving: The feeds that have brought something of it, whatever else of it has failed.
    """

    source: str
    landed: int = 0
    waiting: int = 0
    is_exact: bool = True
    rows: int | None = None
    duplicates: int = 0
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    drifts: Counter[Drift] = field(default_factory=Counter)
    asked: set[str] = field(default_factory=set)
    faults: dict[str, str] = field(default_factory=dict)
    moving: set[str] = field(default_factory=set)

    @property
    def failure(self) -> str | None:
        """Why the source failed; None if it did not."""
        return "; ".join(dict.fromkeys(self.faults.values())) or None

    def fail(self, feed: str, why: str) -> None:
        """Notes what failed of one feed, which may be more than one thing."""
        self.faults[feed] = "; ".join(filter(None, (self.faults.get(feed), why)))

    def __add__(self, later: SourceLoad) -> SourceLoad:
        return SourceLoad(
            self.source,
            landed=self.landed + later.landed,
            waiting=self.waiting + later.waiting,
            is_exact=self.is_exact and later.is_exact,
            rows=(self.rows or 0) + (later.rows or 0),
            duplicates=self.duplicates + later.duplicates,
            quarantined=self.quarantined + later.quarantined,
            drifts=self.drifts + later.drifts,
            asked=self.asked | later.asked,
            faults=self.faults | later.faults,
            moving=self.moving | later.moving,
        )


@dataclass
class SoFar:
    """What the loads so far have left behind.

    Attributes:
        last_load_id: The number of the last one, closed or not; 0 before the first.
        finished: The last load that each source has finished; 0 where there is none.
        unfinished: The sources that their last load could not take in whole, and what failed, by
            feed; after a crash it may have been any of them.
    """

    last_load_id: int
    finished: Mapping[str, int]
    unfinished: dict[str, dict[str, str]]


class Feed:
    """One way in, for all tables that come by it; it does nothing until its methods are filled in.

    Args:
        spark: A session from `ingestion.bronze.connect`.
        home: The home.
        tables: All declared tables; which come by this way, and how, is in their declaration.
        so_far: The loads so far, which `Loads` keeps up to date.
    """

    # Whether what it finds is delivered into the inbox, so that the files' feed takes it in.
    fills_inbox: ClassVar[bool] = False

    def __init__(
        self, spark: SparkSession, home: Home, tables: Sequence[SourceTable], so_far: SoFar
    ) -> None:
        self.spark = spark
        self.home = home
        self.tables = tables
        self.so_far = so_far

    @property
    def goes_on(self) -> bool:
        """Whether more waits of what it has begun: the next load goes on with it."""
        return False

    @property
    def name(self) -> str:
        """Its module's name, under which others speak of it."""
        return type(self).__module__.rpartition(".")[2]

    @classmethod
    def declared(cls, table: SourceTable, said: dict[str, Any]) -> Any:
        """What a table's declaration says to this feed, which then stands in the table's `feeds`.

        Raises:
            DeclarationError: It cannot be followed.
        """
        return said

    @classmethod
    def parts(cls, tables: Sequence[SourceTable]) -> list[SourceTable]:
        """The parts of tables whose files are this feed's own, in folders of their own."""
        return []

    @classmethod
    def standing(cls, home: Home, tables: Sequence[SourceTable]) -> list[dict[str, Any]]:
        """Where it stands with what it reads from, for `lakehouse status`: records of one shape."""
        return []

    @classmethod
    def setting(cls) -> tuple[str, str] | None:
        """What it is set up to read from, and how to change that; None where nothing is set."""
        return None

    def waits_since(self, but: Collection[str]) -> float | None:
        """Since when something waits that may be taken in now, in epoch seconds; asked often.

        Args:
            but: The sources that are left out.
        """
        return None

    def news(self, but: Collection[str]) -> dict[str, str | None]:
        """The sources of which something is new, each with what keeps it from coming in, if so.

        Args:
            but: The sources that are left out.
        """
        return {}

    def begin(self, load_id: int, loads: Mapping[str, SourceLoad]) -> set[str]:
        """Gets ready what is new, and counts in `loads` what waits.

        Returns:
            The sources whose part in this load it has written down, so that a crash is seen.
        """
        return set()

    def take_in(self, load_id: int, loads: Mapping[str, SourceLoad]) -> None:
        """Brings what is new of these sources into bronze; each fails for itself, in `loads`.

        Of more than some seconds' work a part, with `goes_on`: what has come meanwhile has its turn
        before the next.
        """

    def forget(self) -> int:
        """Lets go of what need not be looked at again.

        Returns:
            How many files went into the archive.

        Raises:
            LoadError, GateError: Something cannot be let go of; it stays as it is.
        """
        return 0

    def accept(self, source: str) -> list[str]:
        """Goes on although something is lost that had stopped a source.

        Returns:
            What is lost, a line each; nothing where nothing had stopped it.
        """
        return []


def with_parts(tables: Sequence[SourceTable]) -> list[SourceTable]:
    """The tables, and those of their parts that files come for."""
    parts = [part for feed in all_feeds().values() for part in feed.parts(tables)]
    rows_of_parts = {part.full_name: f"not ({part.rows})" for part in parts}
    wholes = [replace(table, rows=rows_of_parts.get(table.full_name, "true")) for table in tables]
    return [*wholes, *parts]


def settings_of_file() -> dict[str, str | None]:
    """The settings in the file that LAKEHOUSE_ENV_FILE names; none where it names none.

    Raises:
        LoadError: It cannot be read. To go on would be to leave ways in out without a word.
    """
    file = os.environ.get("LAKEHOUSE_ENV_FILE")
    if not file:
        return {}
    try:
        with Path(file).open(encoding="utf-8") as lines:
            return dotenv_values(stream=lines)
    except (OSError, UnicodeDecodeError) as error:
        raise LoadError(
            f"LAKEHOUSE_ENV_FILE={file}: {why_unread(error)}. Correct or unset it."
        ) from None


@cache
def all_feeds() -> dict[str, type[Feed]]:
    """The feeds by their module's name, those first that fill the inbox."""
    modules = [
        importlib.import_module(f"{ingestion.feeds.__name__}.{module.name}")
        for module in pkgutil.iter_modules(ingestion.feeds.__path__)
    ]
    feeds = {
        module.__name__.rpartition(".")[2]: found
        for module in modules
        for found in vars(module).values()
        if isinstance(found, type)
        and issubclass(found, Feed)
        and found.__module__ == module.__name__
        and found is not Feed
    }
    return dict(sorted(feeds.items(), key=lambda item: not item[1].fills_inbox))
