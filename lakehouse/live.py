"""The live loop: what arrives is taken in within seconds, and built beside that.

    this process     a round of ingestion as soon as something arrives; upkeep, a table a minute
    a child of it    the domains that have news, built and tested one after another

Neither waits for the other. What a child that was killed has left undone, the next build does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from types import FrameType

from pyspark.sql import SparkSession

from ingestion.declaration import SourceTable
from ingestion.faults import first_line
from ingestion.feed import all_feeds
from ingestion.loads import Loads, only_ingestion
from ingestion.lock import LockedError
from lakehouse.build import Builds, Retries
from lakehouse.engine import local
from lakehouse.maintenance import FAILURES, TablesKeptUp
from lakehouse.settings import PROJECT, Settings, load_settings

# How often it is looked for news.
_LOOK_SECONDS = 0.05
# How long it takes at most until the inbox has been seen to be still.
_LOOKS_SECONDS = 0.25
# After how long without news upkeep has its turn.
_IDLE_SECONDS = 1.0
# How long files are kept that a table no longer has: builds and rounds replace a hundred a minute.
_RETAIN_HOURS = 2
# How often it is asked whether there is anything to build, should no load tell.
_ASK_SECONDS = 60.0
# How soon the builds are tried again that another process is in the way of; after twelve times it
# is told.
_REFUSED_SECONDS = 5.0
# How long the builds have to go on for their end not to be one more of the same failure.
_LONG_SECONDS = 3600.0
# How long a build may take to end in order.
_END_SECONDS = 30.0


class Stop:
    """Set by Ctrl-C or SIGTERM: the loop ends after the round it is in; a second one interrupts.

    Attributes:
        sign: The signal's number; 0 while there was none.
    """

    def __init__(self) -> None:
        self.sign = 0
        for sign in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sign, self._set)

    def _set(self, sign: int, _frame: FrameType | None) -> None:
        if self.sign:
            raise KeyboardInterrupt
        self.sign = sign
        # Not by `print`, which may be at work when the signal comes.
        os.write(2, b"\nStopping after this round; Ctrl-C again stops at once.\n")


class Ingestion:
    """Rounds of ingestion; a way in that has failed for a source is left out for a while.

    The others bring what they have of that source: a broker that is down holds off no file.

    Args:
        settings: The installation.
        tables: The declared tables.
    """

    def __init__(self, settings: Settings, tables: list[SourceTable]) -> None:
        self._settings = settings
        self._tables = tables
        self._session: SparkSession | None = None
        self._loads: Loads | None = None
        self._retries = Retries()

    def loads(self) -> Loads:
        """The loads; new ones after a failure, or where the session is no longer open.

        Raises:
            LakehouseError: The engine is down and cannot be started.
            PySparkException: The engine failed.
        """
        session = local.session(self._settings)
        if self._loads is None or session is not self._session:
            self._loads = Loads(session, self._settings.paths, self._tables)
            self._session = session
        return self._loads

    def due_since(self) -> float | None:
        """Since when something is to be taken in, or to be tried again, in epoch seconds."""
        if not self._retries.is_due("ingestion"):
            return None
        if self._loads is None:
            return time.time()
        try:
            return self._loads.waits_since(self._held_off())
        except FAILURES:
            return time.time()  # the round meets it again, and tells

    def _held_off(self) -> set[tuple[str, str]]:
        pairs = product(all_feeds(), (table.full_name for table in self._tables))
        return {pair for pair in pairs if not self._retries.is_due(pair)}

    def take_in(self, oldest: float) -> list[str]:
        """Takes in what may be, if there is anything.

        Args:
            oldest: Since when the oldest of it waits, in epoch seconds.

        Returns:
            The load in a line, and a line for what has drifted and each file that was refused;
            nothing without a load.

        Raises:
            PySparkException, LoadError, GateError, LakehouseError, OSError: It failed outside any
                one source; it is tried again, later and later.
        """
        began = time.monotonic()
        try:
            load = self.loads().run(self._held_off())
        except FAILURES:
            self._loads = None  # what stands in the tables counts
            self._retries.note("ingestion", is_done=False)
            raise
        self._retries.note("ingestion", is_done=True)
        if load is None:
            return []
        for source in load.sources:
            for feed in source.asked:
                pair = feed, source.source
                self._retries.note(pair, is_done=pair not in load.failed)
        told = (
            f"load {load.load_id}: rows {sum(source.rows or 0 for source in load.sources)}, "
            f"{time.monotonic() - began:.1f} s, lag {time.time() - oldest:.1f} s"
        )
        if load.failures:
            told += f"; failed: {'; '.join(load.failures)}"
        return [told, *(f"  {line}" for line in [*load.drifts, *load.refusals])]


class BuildsBeside:
    """A child process that builds and tests the domains that have news.

    Its words come through a pipe. It ends when another pipe is closed, so also with a killed loop.

    Args:
        settings: The installation.
        every: Seconds from the end of its builds to the begin of the next.
        say: Told its words.
    """

    def __init__(self, settings: Settings, every: float, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._every = every
        self._say = say
        self._child: subprocess.Popen[str] | None = None
        self._began = 0.0
        self._retries = Retries()

    def look_after(self) -> None:
        """Begins it, also where it has ended unasked."""
        if self._child and self._child.poll() is not None:
            self._say(f"The builds have ended, status {self._child.returncode}; they begin anew.")
            self._child = None
            if time.monotonic() - self._began > _LONG_SECONDS:
                self._retries.note("builds", is_done=True)
            self._retries.note("builds", is_done=False)
        if self._child is None and self._retries.is_due("builds"):
            self._child = subprocess.Popen(
                [sys.executable, "-m", "lakehouse.live", f"{self._every}"],
                env=os.environ | {"LAKEHOUSE_HOME": str(self._settings.paths.root)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                cwd=PROJECT,
                process_group=0,  # Ctrl-C is the loop's to handle
            )
            self._began = time.monotonic()
            threading.Thread(target=self._pass_on, args=[self._child], daemon=True).start()

    def tell(self) -> None:
        """Tells it that a load has been closed."""
        if self._child and self._child.stdin:
            with suppress(BrokenPipeError):
                print(file=self._child.stdin, flush=True)

    def stop(self) -> None:
        """Ends it after the statements under way; the next build makes up for the rest."""
        if self._child and self._child.stdin:
            with suppress(BrokenPipeError):
                self._child.stdin.close()
            try:
                self._child.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._child.kill()

    def _pass_on(self, child: subprocess.Popen[str]) -> None:
        for line in child.stdout or ():
            self._say(line.rstrip())


def run_rounds(
    settings: Settings, every: float, say: Callable[[str], None], *, build_every: float | None
) -> int:
    """Runs rounds until a signal stops it.

    Args:
        settings: The installation.
        every: A round begins at most so often (seconds), as soon as something waits.
        say: Told a line about each round and each build.
        build_every: Seconds from the end of the builds to the begin of the next; None: there are
            none.

    Returns:
        The signal's number.

    Raises:
        LockedError: Another process ingests into this home.
    """
    with only_ingestion(settings.paths):
        ingestion = Ingestion(settings, local.declared_tables())
        upkeep = TablesKeptUp(settings, say, lambda: ingestion.loads().forget(), _RETAIN_HOURS)
        builds = BuildsBeside(settings, build_every, say) if build_every is not None else None
        stop = Stop()
        say(f"A round every {every:g} s, as soon as something waits.")
        due = 0.0
        try:
            while (oldest := _wait(ingestion, upkeep, builds, stop)) is not None:
                # Files that come at this very pace would wait longer by each round's looks.
                due = max(due, time.monotonic() - _LOOKS_SECONDS) + every
                try:
                    lines = ingestion.take_in(oldest)
                except FAILURES as error:
                    lines = [f"The round failed: {first_line(error)}"]
                for line in lines:
                    say(line)
                if lines and builds:
                    builds.tell()
                upkeep.go_on()
                while time.monotonic() < due and not stop.sign:
                    time.sleep(_LOOK_SECONDS)
        finally:
            if builds:
                builds.stop()
    return stop.sign


def _wait(
    ingestion: Ingestion, upkeep: TablesKeptUp, builds: BuildsBeside | None, stop: Stop
) -> float | None:
    """Waits for news, or until what failed is to be tried again; upkeep goes on meanwhile.

    Returns:
        Since when the oldest waits, in epoch seconds; None if it is to stop.
    """
    began = time.monotonic()
    while not stop.sign:
        if builds:
            builds.look_after()
        if (since := ingestion.due_since()) is not None:
            return since
        if time.monotonic() - began > _IDLE_SECONDS:
            upkeep.go_on()
        time.sleep(_LOOK_SECONDS)
    return None


def _build_beside(every: float) -> None:
    """The child process: builds what has news, until its standard input ends.

    Args:
        every: Seconds from the end of the builds to the begin of the next.
    """
    # A loop that a script began with `&` ignores SIGINT, and so would what it begins.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    has_news = threading.Event()
    threading.Thread(target=_listen, args=[has_news], daemon=True).start()
    # One statement at a time: rounds and readers, who wait, have the other core.
    builds = Builds(load_settings(), options=("--threads", "1"))
    refusals = 0
    while True:
        has_news.clear()
        try:
            is_idle = True
            for done in builds.bring_up_to_date():
                is_idle = is_idle and not done.has_news
                for line in done.lines():
                    print(line, flush=True)
            refusals = 0
        except LockedError as error:  # upkeep, or a build by hand
            refusals += 1
            if refusals == 12:
                print(error, flush=True)
            time.sleep(_REFUSED_SECONDS)
            continue
        except FAILURES as error:
            is_idle = False
            print(f"The builds failed: {first_line(error)}", flush=True)
        if is_idle:
            has_news.wait(_ASK_SECONDS)
        else:
            time.sleep(every)


def _listen(has_news: threading.Event) -> None:
    """Hears of each closed load; where nobody is left to tell, this process is to end."""
    while os.read(0, 1024):
        has_news.set()
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        _build_beside(float(sys.argv[1]))
