"""A load: one round of ingestion over all sources that have news, under one number.

    feeds: news --> begin --> take_in        audit.loads: each source finished or failed,
                                             last the load closed

A build sees closed loads only. A load that a crash leaves open is closed by the next one, which
begins when every query of the earlier has ended, so no row appears under a number already closed.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from ingestion.bronze import end, interpreted, record, rescued_names
from ingestion.declaration import SourceTable
from ingestion.drift import Drift, declaration_of, drift_of_fields
from ingestion.faults import LoadError
from ingestion.feed import Feed, SoFar, SourceLoad, all_feeds
from ingestion.home import Home
from ingestion.lock import locked

# How long a query that an earlier ingestion left behind may take to end, in seconds.
_PATIENCE_SECONDS = 600
# Up to so many new rows, to compile the statements that take them in costs more than they do.
_SMALL_WORK_ROWS = 200_000
_BROKEN_OFF = "its last load was broken off"

# What is left out of a load: a feed, and the source that it is not to be asked for.
LeftOut = Collection[tuple[str, str]]


@dataclass(frozen=True)
class Load:
    """A load: its number and what it did, source by source."""

    load_id: int
    sources: list[SourceLoad]

    @property
    def failures(self) -> list[str]:
        """What failed, a line each source."""
        return [f"{source.source}: {source.failure}" for source in self.sources if source.failure]

    @property
    def failed(self) -> set[tuple[str, str]]:
        """What is to be left out for a while: each feed and source that failed and stands still."""
        return {
            (feed, source.source)
            for source in self.sources
            for feed in source.faults.keys() - source.moving
        }

    @property
    def refusals(self) -> list[str]:
        """The files that went to quarantine, each with its reason, a line each."""
        return [
            f"{source.source}: {name}: {reason}".replace("\n", "\\n")
            for source in self.sources
            for name, reason in source.quarantined
        ]

    @property
    def drifts(self) -> list[str]:
        """What came with other columns than the declared ones, a line each source and shape."""
        return [
            f"{source.source}: {_rows_told(drift, num_rows)}: {drift}"
            for source in self.sources
            for drift, num_rows in source.drifts.items()
        ]

    @property
    def declarations(self) -> list[str]:
        """Per source, what would declare the columns that are not, ready to paste."""
        told = []
        for source in self.sources:
            unknown = (column for drift in source.drifts for column in drift.unknown)
            columns = {column.name.lower(): column for column in unknown}  # each is declared once
            if lines := declaration_of(columns.values()):
                folder, _, table = source.source.partition(".")
                told.append(
                    f"To declare them, add to the columns of {table} in "
                    f"models/staging/{folder}/_{folder}__sources.yml:\n{lines}"
                )
        return told


def _rows_told(drift: Drift, num_rows: int) -> str:
    return f"rows {num_rows}" if drift.is_by_row else f"in files of {num_rows} rows"


def together(loads: Sequence[Load]) -> Load:
    """What some loads have brought, source by source, under the number of the last."""
    sources: dict[str, SourceLoad] = {}
    for load in loads:
        for source in load.sources:
            before = sources.get(source.source)
            sources[source.source] = before + source if before else source
    return Load(loads[-1].load_id, list(sources.values()))


def only_ingestion(home: Home) -> AbstractContextManager[None]:
    """Holds the right to ingest into this home; it frees itself when the process ends.

    Raises:
        LockedError: Another process ingests at the moment.
    """
    return locked(home.memory / "lock", f"ingests into {home.root}")


class Loads:
    """The loads of one home, one after the other, while `only_ingestion` is held.

    Args:
        spark: A session from `ingestion.bronze.connect`.
        home: The home.
        tables: The declared tables, which `ingestion.bronze.create_tables` has made.
        interprets: Whether small work may be interpreted; not every engine lets itself be told.
    """

    def __init__(
        self,
        spark: SparkSession,
        home: Home,
        tables: list[SourceTable],
        *,
        interprets: bool = True,
    ) -> None:
        self._spark = spark
        self._interprets = interprets
        self._tables = {table.full_name: table for table in tables}
        self._await_earlier_queries()
        last = spark.sql(
            "select source, max(load_id) as load_id, "
            # By the order of the loads, not by a clock that may be set back.
            "max_by(struct(status, message), struct(load_id, status <> 'begun')) as last, "
            "coalesce(max(if(status = 'finished', load_id, null)), 0) as finished from ("
            "select source, load_id, status, message from audit.loads "
            "where status <> 'accepted' union all "
            # A load with files is begun with their fates.
            "select source, load_id, 'begun', null from audit.files) "
            "group by source"
        ).collect()
        self._so_far = SoFar(
            last_load_id=max((row["load_id"] for row in last), default=0),
            finished={row["source"]: row["finished"] for row in last},
            unfinished={
                row["source"]: dict.fromkeys(all_feeds(), row["last"]["message"] or _BROKEN_OFF)
                for row in last
                if row["last"]["status"] in ("begun", "failed")
            },
        )
        self._feeds = [feed(spark, home, tables, self._so_far) for feed in all_feeds().values()]

    @property
    def has_any(self) -> bool:
        """Whether anything has ever come."""
        return self._so_far.last_load_id > 0

    @property
    def goes_on(self) -> bool:
        """Whether the next load goes on with what the last one has begun."""
        return any(feed.goes_on for feed in self._feeds)

    def waits_since(self, but: LeftOut = ()) -> float | None:
        """Since when something waits that may be taken in now, in epoch seconds.

        Args:
            but: What is left out.
        """
        times = [feed.waits_since(_sources_of(feed, but)) for feed in self._feeds]
        since = min((at for at in times if at is not None), default=None)
        return time.time() if since is None and self._left_over(but) else since

    def run(self, but: LeftOut = ()) -> Load | None:
        """Takes in all that waits and closes the load; of a way in that goes on, the next part.

        Args:
            but: What takes no part in it. A source that fails by one feed fails for it alone, so
                that another feed brings what it has.

        Returns:
            The load; None, and none is opened, where nothing waits.

        Raises:
            PySparkException: The engine failed outside any one source.
        """
        load = self._take_in(but)
        if load:
            self._close(load)
        return load

    def _left_over(self, but: LeftOut) -> set[str]:
        """The sources that are not whole, of which a feed that failed may be asked again."""
        return {
            name
            for name, faults in self._so_far.unfinished.items()
            if name in self._tables and any((feed, name) not in but for feed in faults)
        }

    def _take_in(self, but: LeftOut) -> Load | None:
        """Takes in what waits: when it returns, bronze has all rows of the load."""
        news = {feed.name: feed.news(_sources_of(feed, but)) for feed in self._feeds}
        left_over = self._left_over(but)
        names = sorted(left_over.union(*news.values()))
        if not names:
            return None
        self._await_earlier_queries()
        load_id = self._so_far.last_load_id = self._so_far.last_load_id + 1
        loads = {name: self._begin(name, but, is_exact=name not in left_over) for name in names}
        for feed_name, fault_of in news.items():
            for name, fault in fault_of.items():
                if fault:
                    loads[name].fail(feed_name, fault)
        # To each feed the sources that it takes part for.
        loads_of = {
            feed: {name: load for name, load in loads.items() if feed.name in load.asked}
            for feed in self._feeds
        }
        begun = set().union(*(feed.begin(load_id, of) for feed, of in loads_of.items()))
        # Or the load's number, and who takes part in it, would be known nowhere.
        unknown = set(names) - begun - (left_over if begun else set())
        self._record([(load_id, name, "begun", None, None) for name in sorted(unknown)])
        num_rows = sum(load.waiting for load in loads.values())
        is_small = not left_over and num_rows <= _SMALL_WORK_ROWS
        with interpreted(self._spark, is_wanted=is_small and self._interprets):
            for feed, of in loads_of.items():
                feed.take_in(load_id, of)
        self._await_earlier_queries()  # a client may lose a query that goes on in the engine
        return Load(load_id, list(loads.values()))

    def _begin(self, name: str, but: LeftOut, *, is_exact: bool) -> SourceLoad:
        """A source's part in a load, not whole as long as a feed that failed is left out."""
        faults = self._so_far.unfinished.get(name, {})
        self._so_far.unfinished[name] = dict.fromkeys(all_feeds(), _BROKEN_OFF)
        return SourceLoad(
            name,
            is_exact=is_exact,
            asked={feed.name for feed in self._feeds if (feed.name, name) not in but},
            faults={feed: fault for feed, fault in faults.items() if (feed, name) in but},
        )

    def _close(self, load: Load) -> None:
        """Counts what a load brought, and closes it: from now on a build sees it.

        A source that brought another number of rows than waited has failed.
        """
        self._count(load)
        for source in load.sources:
            is_clear = source.is_exact and not source.faults.keys() & source.asked
            if is_clear and source.rows != source.waiting:
                for feed in source.asked:
                    source.fail(
                        feed,
                        f"bronze received {source.rows} of {source.waiting} rows: the checkpoint "
                        "in the home is not the one that belongs to the table",
                    )
        num_rows = sum(source.rows or 0 for source in load.sources)
        self._record(
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
        for source in load.sources:
            if source.faults:
                self._so_far.unfinished[source.source] = source.faults
            else:
                del self._so_far.unfinished[source.source]

    def _count(self, load: Load) -> None:
        """Counts what bronze has under a load's number; of JSON, only bronze tells the drift."""
        loads = {source.source: source for source in load.sources}
        counts = " union all ".join(
            f"select '{name}' as source, count(*) as num_rows, count(_rescued) as num_rescued "
            f"from {self._tables[name].bronze_name} where _load_id = {load.load_id}"
            for name in loads
        )
        for row in self._spark.sql(counts).collect():
            source, table = loads[row["source"]], self._tables[row["source"]]
            source.rows = row["num_rows"]
            if table.format == "json" and row["num_rescued"]:
                names = rescued_names(self._spark, table, load.load_id)
                source.drifts[drift_of_fields(names, table)] = row["num_rescued"]

    def forget(self) -> int:
        """Archives the landed files that bronze has: no run has to look through them again.

        A source whose last load is unfinished is left alone; one of which bronze lacks rows keeps
        none of the others waiting.

        Returns:
            How many files went into the archive.

        Raises:
            LoadError: Bronze lacks rows of landed files; they stay where they are.
            GateError: A file cannot be moved.
        """
        return sum(feed.forget() for feed in self._feeds)

    def accept(self, source: str) -> list[str]:
        """Goes on although something is lost that had stopped a source; `audit.loads` keeps what.

        Returns:
            What is lost, a line each.

        Raises:
            LoadError: Nothing had stopped it.
        """
        lost = [line for feed in self._feeds for line in feed.accept(source)]
        if not lost:
            raise LoadError(f"Nothing has stopped {source}: there is nothing to accept.")
        load_id = self._so_far.last_load_id
        self._record([(load_id, source, "accepted", None, line) for line in lost])
        return lost

    def _await_earlier_queries(self) -> None:
        for query in self._spark.streams.active:
            with suppress(PySparkException):  # it has ended, which is all that matters here
                end(query, _PATIENCE_SECONDS)

    def _record(self, rows: list[tuple[int, str | None, str, int | None, str | None]]) -> None:
        now = datetime.now(UTC)
        record(self._spark, "audit.loads", [(*row, now) for row in rows])


def _sources_of(feed: Feed, pairs: LeftOut) -> set[str]:
    return {source for name, source in pairs if name == feed.name}
