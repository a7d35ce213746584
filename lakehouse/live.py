"""The live loop: as soon as something arrives, a round of ingestion and of the models it touches.

One process holds the loop, on the warm engine. A round builds the models tagged `live` that the
arrivals touch and publishes them. The rest of the models, all tests and their publishing
go on beside it at their own pace, in a child process, from the sources that have had news since.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from pyspark.errors import PySparkException

from ingestion.declaration import SourceTable
from ingestion.gate import GateError, waiting_files
from ingestion.loads import Load, LoadError, Loads, first_line, only_ingestion
from ingestion.lock import LockedError
from lakehouse.build import BUILD, BUILD_UNTESTED, Dbt
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.maintenance import RETAIN_HOURS, delta_tables, keep_up
from lakehouse.settings import PROJECT, Settings, load_settings

# How often the inbox is looked at; it is still when two looks see the same, since a delivery may be
# several files.
_LOOK_SECONDS = 0.05
# How long a delivery may take before what is there of it is taken in.
_PATIENCE_SECONDS = 1.0
# How long after a failure the same is tried again, should nothing arrive before.
_RETRY_SECONDS = 30.0
# Between two builds of the rest of the models, in which one may build by hand.
_PAUSE_SECONDS = 30.0
# The least share of the time that the rest of the models gets, however close the rounds follow.
_LEAST_SHARE = 0.2
# How often a table has its upkeep.
_UPKEEP_SECONDS = 60.0
# How long what a round has replaced is kept: rounds make a hundred files a minute.
_RETAIN_HOURS_OF_ROUNDS = 2
_STATE = "run state: "
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


@dataclass(frozen=True)
class Round:
    """What one round did.

    Attributes:
        load: The load that it took in; None where it only tried again what had failed.
        seconds: How long it took, of these `ingest_seconds` for ingestion.
        lag: Seconds from the arrival of its oldest file to the end of the round.
        failure: What failed, or nothing.
    """

    load: Load | None
    seconds: float
    ingest_seconds: float
    lag: float
    failure: str

    def lines(self) -> Iterator[str]:
        """The round in a line, and a line for each file that was refused."""
        sources = self.load.sources if self.load else []
        rows = sum(source.rows or 0 for source in sources)
        name = f"load {self.load.load_id}" if self.load else "again"
        yield (
            f"{name}: rows {rows}, {self.seconds:.1f} s "
            f"(ingest {self.ingest_seconds:.1f}), lag {self.lag:.1f} s"
            + (f"; failed: {self.failure}" if self.failure else "")
        )
        if self.load:
            yield from (f"  {refusal}" for refusal in self.load.refusals)


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


class LiveModels:
    """The models tagged `live`, built round by round in this process.

    What dbt would ask the audit tables at the start of each run is handed in: dbt tells its state
    in its log at the end of a run, and the loop gives it back with the next load. Where somebody
    else has built in between, the next run asks, of the project as it is then.

    Attributes:
        owed: The sources whose news is not built yet.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._dbt = Dbt(settings, "live", self._hear)
        self._dbt.parse()
        self._state: dict[str, Any] = {}
        self._is_up_to_date = True
        self.owed: set[str] = set()

    @property
    def is_informed(self) -> bool:
        """Whether it can build a load that is not closed yet, since it need not ask for it."""
        self.heed_others()
        return bool(self._state) and self._is_up_to_date

    def heed_others(self) -> None:
        """Notes if somebody else has built, which a claim of this process would hide."""
        if local.last_builder(self._settings, "live") != os.getpid():
            self._is_up_to_date = False

    def build(self, load: Load | None) -> None:
        """Builds and publishes what stands on the sources of a load and on those owed.

        Raises:
            LakehouseError: dbt failed, and has printed why; the sources are owed.
        """
        sources = {source.source for source in load.sources} if load else set()
        self.owed |= sources
        self.heed_others()
        if not self._is_up_to_date:
            self._state = {}
            self._dbt.parse()
            self._is_up_to_date = True
        state, self._state = self._state, {}
        if state and load:
            state["cut"] = load.load_id
            state["sources"] |= dict.fromkeys(sources, load.load_id)
            os.environ["LAKEHOUSE_RUN_STATE"] = json.dumps(state)
        try:
            self._dbt(
                *(*BUILD_UNTESTED, "--select"),
                *(f"source:{source}+,tag:live" for source in sorted(self.owed)),
                *("--no-populate-cache", "--no-write-json", "--log-level-file", "info"),
            )
        except LakehouseError:
            self._state = {}  # the next run asks
            raise
        finally:
            os.environ.pop("LAKEHOUSE_RUN_STATE", None)
        self._state = self._state or state  # dbt that finds nothing to do tells nothing
        self.owed.clear()

    def tables(self) -> set[str]:
        """The tables that these models write, `<schema>.<table>`."""
        return {f"{node.schema}.{node.alias}" for node in self._dbt.models() if "live" in node.tags}

    def _hear(self, message: str) -> None:
        if message.startswith(_STATE):
            self._state = json.loads(message.removeprefix(_STATE))


class LoadsOfTheLoop:
    """The loop's loads, on a session that is open however long nothing came.

    Args:
        settings: The installation.
        tables: The declared tables.
    """

    def __init__(self, settings: Settings, tables: list[SourceTable]) -> None:
        self._settings = settings
        self._tables = tables
        self._session = local.session(settings)
        self._loads = Loads(self._session, settings.paths, tables)

    def now(self) -> Loads:
        """The loads; new ones where the engine has closed the session of the last, or is another.

        Raises:
            LakehouseError: The engine is down and cannot be started.
        """
        session = local.session(self._settings)
        if session is not self._session:
            self._loads = Loads(session, self._settings.paths, self._tables)
            self._session = session
        return self._loads

    @property
    def unfinished(self) -> set[str]:
        """The sources that the last load could not take in whole."""
        return self._loads.unfinished


class TablesKeptUp:
    """The upkeep of one table a minute, between rounds, so that none of it meets a writer.

    The tables that rounds write and those of the rest take turns, the latter where they may: a
    table that a long build writes keeps none of the others waiting.

    Args:
        settings: The installation.
        loads: The loop's loads.
        live: The loop's models, if it builds any.
        say: Told what failed.
    """

    def __init__(
        self,
        settings: Settings,
        loads: LoadsOfTheLoop,
        live: LiveModels | None,
        say: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._loads = loads
        self._live = live
        self._say = say
        # By pace, the one whose turn is next first.
        self._due: dict[str, list[str]] = {
            pace: [] for pace in (("live", "rest") if live else ("",))
        }
        self._next_at = time.monotonic() + _UPKEEP_SECONDS

    def go_on(self, *, rest_is_idle: bool) -> None:
        """Sees to the next table, if it is time; after the rounds' last, to the landed files.

        Args:
            rest_is_idle: Whether tables may be seen to that the live models do not write.
        """
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _UPKEEP_SECONDS
        pace = next(pace for pace in self._due if pace != "rest" or rest_is_idle)
        due = self._due[pace] = self._due.pop(pace)
        name = "landing"
        try:
            spark = local.session(self._settings)
            if not due:
                due += [table for table in delta_tables(spark) if self._pace_of(table) == pace]
                if pace != "rest":
                    self._loads.now().forget_files()
                return
            name = due[0]
            if self._live:
                self._live.heed_others()
            with local.only_build(self._settings, pace):
                due.remove(name)
                hours = _RETAIN_HOURS_OF_ROUNDS if self._is_of_rounds(name) else RETAIN_HOURS
                if note := keep_up(spark, name, hours).note:
                    self._say(f"{name}: {note}")
        except LockedError:
            pass  # it is being built; its turn comes again
        except (PySparkException, GateError, LoadError, LakehouseError, OSError) as error:
            self._say(f"The upkeep of {name} failed: {first_line(error)}")

    def _pace_of(self, table: str) -> str:
        if not self._live:
            return ""
        return "live" if self._is_of_rounds(table) else "rest"

    def _is_of_rounds(self, table: str) -> bool:
        """Whether each round writes the table."""
        of_models = self._live.tables() if self._live else ()
        return table.startswith(("bronze.", "audit.")) or table in of_models


class RestOfTheModels:
    """The models not tagged `live`, and the tests: a child process, one build at a time.

    It works between the rounds: `held` stops it while one goes on, which on a small machine would
    otherwise take twice as long.
    """

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        self._log = settings.paths.logs / "rest.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._news: set[str] = set()
        self._taken: set[str] = set()
        self._started = 0.0
        self._held_seconds = 0.0
        self._rests_until = 0.0

    def hear(self, sources: set[str]) -> None:
        """Takes note of sources that have news."""
        self._news |= sources

    @property
    def is_idle(self) -> bool:
        """Whether no build is under way."""
        return self._child is None or self._child.poll() is not None

    def go_on(self) -> None:
        """Looks after the build, and begins the next one, after a pause, where there is news."""
        now = time.monotonic()
        if self._child and self._child.poll() is not None:
            took = now - self._started
            if self._child.returncode:
                self._news |= self._taken
                self._say(
                    f"The rest of the models: failed after {took:.0f} s. "
                    f"Its words are in {self._log}"
                )
            else:
                self._say(f"The rest of the models: built and tested in {took:.0f} s.")
            self._child = None
            self._rests_until = now + _PAUSE_SECONDS
        if self._child is None and self._news and now >= self._rests_until:
            self._taken, self._news = self._news, set()
            self._started, self._held_seconds = now, 0.0
            with self._log.open("wb") as log:
                self._child = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "lakehouse.live",
                        f"{os.getpid()}",
                        *sorted(self._taken),
                    ],
                    env=os.environ | {"LAKEHOUSE_HOME": str(self._settings.paths.root)},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=PROJECT,
                    process_group=0,  # Ctrl-C is the loop's to handle
                )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Stops the build meanwhile, unless it has had less than its share.

        A statement that the engine has begun goes on.
        """
        began = time.monotonic()
        total = began - self._started
        child = self._child if total - self._held_seconds >= _LEAST_SHARE * total else None
        if child:
            child.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            if child:
                child.send_signal(signal.SIGCONT)
                self._held_seconds += time.monotonic() - began

    def stop(self) -> None:
        """Ends a build that is under way; the next one makes up for it."""
        if self._child and self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
            try:
                self._child.wait(30)
            except subprocess.TimeoutExpired:
                self._child.kill()


def run_rounds(settings: Settings, every: float, say: Callable[[str], None], *, build: bool) -> int:
    """Runs rounds until a signal stops it.

    Args:
        settings: The installation.
        every: A round begins at most so often (seconds), as soon as something waits in the inbox.
        say: Told a line about each round and each build of the rest.
        build: Whether a round also builds, and the rest of the models is built beside it.

    Returns:
        The signal's number.

    Raises:
        LakehouseError: The loop cannot begin: the first build, of all there is, failed.
        LockedError: Another process ingests into this home, or builds in it.
    """
    tables = local.declared_tables()
    rest = RestOfTheModels(settings, say)
    with only_ingestion(settings.paths):
        loads = LoadsOfTheLoop(settings, tables)
        live = None
        if build:
            if caught_up := loads.now().run():
                outcome = "; ".join(caught_up.failures) or "what waited is in"
                say(f"load {caught_up.load_id}: {outcome}")
                for refusal in caught_up.refusals:
                    say(f"  {refusal}")
            say("Building all there is, a minute or more; what arrives meanwhile waits ...")
            Dbt(settings)(*BUILD_UNTESTED)
            live = LiveModels(settings)
            live.owed |= {table.full_name for table in tables}
            live.build(None)  # to publish what is built
            rest.hear({table.full_name for table in tables})
        upkeep = TablesKeptUp(settings, loads, live, say)
        stop = Stop()
        say(f"A round every {every:g} s, as soon as something waits in {settings.paths.inbox}.")
        try:
            while not stop.sign:
                began = time.monotonic()
                oldest = _wait(
                    settings, tables, loads=loads, live=live, stop=stop, rest=rest, upkeep=upkeep
                )
                if oldest is not None:
                    with rest.held():
                        done = _round(loads.now(), live, oldest)
                    for line in done.lines() if done else ():
                        say(line)
                    if build and done and done.load:
                        rest.hear({source.source for source in done.load.sources})
                    upkeep.go_on(rest_is_idle=rest.is_idle)
                while time.monotonic() < began + every and not stop.sign:
                    rest.go_on()
                    time.sleep(_LOOK_SECONDS)
        finally:
            rest.stop()
    return stop.sign


def _wait(
    settings: Settings,
    tables: list[SourceTable],
    *,
    loads: LoadsOfTheLoop,
    live: LiveModels | None,
    stop: Stop,
    rest: RestOfTheModels,
    upkeep: TablesKeptUp,
) -> float | None:
    """Waits for files, or until what failed is to be tried again; upkeep goes on meanwhile.

    Returns:
        When the oldest came, in epoch seconds; None if it is to stop.
    """
    began = time.monotonic()
    first_seen = None
    before: set[str] = set()
    while not stop.sign:
        rest.go_on()
        waiting: list[Path] = []
        for table in tables:
            with suppress(GateError):  # the round tells of it, with the other sources' news
                waiting += waiting_files(settings.paths, table)
        names = set(map(str, waiting))
        now = time.monotonic()
        if names:
            first_seen = first_seen or now
            # A stream of files that never ends is not waited for.
            if names == before or now - first_seen > _PATIENCE_SECONDS:
                with suppress(FileNotFoundError):
                    # The rename into the inbox, not the writing before it.
                    return min(path.stat().st_ctime for path in waiting)
        elif now - began > _PATIENCE_SECONDS:
            upkeep.go_on(rest_is_idle=rest.is_idle)
        is_owing = bool(loads.unfinished or (live and live.owed))
        if is_owing and now - began > _RETRY_SECONDS:
            return time.time()
        before = names
        time.sleep(_LOOK_SECONDS)
    return None


def _round(loads: Loads, live: LiveModels | None, oldest: float) -> Round | None:
    """Takes in what waits; while the load is counted and closed, the models are built already.

    That is safe: all of the load's rows are in bronze, and no other load can get its number.
    """
    began = time.monotonic()
    load = loads.take_in()
    if load is None and not (live and live.owed):
        return None
    ingested = time.monotonic()
    failures = []
    with ThreadPoolExecutor(1) as closer:
        closing = closer.submit(loads.close, load) if load else None
        if live:
            if closing and not live.is_informed:
                closing.result()  # a build that asks sees closed loads only
            try:
                live.build(load)
            except LakehouseError as error:
                failures.append(str(error))
        published = time.time()
        if closing:
            closing.result()
    if load:
        failures += load.failures
    return Round(
        load=load,
        seconds=time.monotonic() - began,
        ingest_seconds=ingested - began,
        lag=published - oldest,
        failure="; ".join(failures),
    )


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.kill(os.getpid(), signal.SIGINT)


def _build_rest(loop: int, sources: list[str]) -> None:
    """The child process: builds and tests what stands on these sources, but for the live models.

    One statement at a time, since the rounds need the other core. Should the loop be killed, the
    child ends too, so that it does not hold up the next loop; if it is held at that moment, the
    kernel wakes it (elsewhere than on Linux: as a stopped group that nobody is left to look after).

    Args:
        loop: The loop's process. Who is the parent now does not tell: the loop may be gone already.
        sources: The sources that have news.
    """
    # A loop that a script began with `&` ignores SIGINT, and so would what it begins.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGCONT)
    threading.Thread(target=_end_with, args=[loop], daemon=True).start()
    select = [f"source:{source}+" for source in sources]
    Dbt(load_settings(), "rest")(
        *BUILD,
        "--threads",
        "1",
        "--select",
        *select,
        "--exclude",
        "path:models/staging",
        "tag:live,resource_type:model",
    )


if __name__ == "__main__":
    try:
        _build_rest(int(sys.argv[1]), sys.argv[2:])
    except (LakehouseError, KeyboardInterrupt) as error:
        sys.exit(str(error) or 130)
