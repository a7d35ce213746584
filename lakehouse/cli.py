"""The `lakehouse` command line. Exit status 0: done; 1: failed; 2: asked in a wrong way."""

from __future__ import annotations

import csv
import itertools
import json
import logging
import math
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple
from difflib import get_close_matches
from enum import StrEnum
from functools import wraps
from inspect import signature
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec, TextIO

import typer
from pydantic import ValidationError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from rich.console import Console
from rich.table import Table
from rich.text import Text

import generators
from generators.kafka import sender
from ingestion.declaration import SourceTable
from ingestion.faults import LoadError, first_line
from ingestion.feed import all_feeds, with_parts
from ingestion.gate import GateError, accepted_name, stray_entries
from ingestion.loads import Load, Loads, only_ingestion, together
from ingestion.lock import LockedError
from lakehouse import alerts as alerting
from lakehouse import doctor as checks
from lakehouse import engine, maintenance, reading
from lakehouse.engine import local
from lakehouse.environment import check_may_write
from lakehouse.errors import LakehouseError, of_system
from lakehouse.history import History
from lakehouse.settings import Settings, load_settings

app = typer.Typer(
    help="A dbt-on-Spark lakehouse: raw events to answers.",
    pretty_exceptions_enable=False,
    add_completion=False,
)


P = ParamSpec("P")


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


# What data can be made up.
Domain = StrEnum("Domain", generators.domains())  # type: ignore[misc] # its members are folders


# Control characters, line ends, what turns the direction of writing, lone surrogates.
_CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


# How often a log, which no line changes in, is told how far something is.
_PROGRESS_SECONDS = 10.0


class Output:
    """Where a command's words go: people's to the error stream, answers to standard output."""

    def __init__(self) -> None:
        self.as_json = False
        self.quiet = False
        # Data is no markup: a mac address has `:cd:` in it, which would come out as a picture.
        self._people = Console(
            stderr=True, soft_wrap=True, highlight=False, markup=False, emoji=False
        )
        # As wide as the rows need: a terminal wraps what a person can still read.
        self._answers = Console(width=10_000, highlight=False, markup=False, emoji=False)

    def say(self, message: str) -> None:
        """Tells people what happens, in a line or several; silent with `--quiet`."""
        if not self.quiet:
            self._people.print(_lines_shown(message))

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """How far something is: one line that changes; where that cannot be, one every 10 s."""
        if self.quiet:
            yield lambda _: None
        elif self._people.is_terminal:
            with self._people.status("") as line:
                yield lambda message: line.update(self._in_a_line(message))
        else:
            yield self._now_and_then()

    def _in_a_line(self, message: str) -> Text:
        text = Text(_shown(message))
        text.truncate(self._people.width - 2, overflow="ellipsis")  # beside what turns
        return text

    def _now_and_then(self) -> Callable[[str], None]:
        said_at = -math.inf

        def show(message: str) -> None:
            nonlocal said_at
            if time.monotonic() >= said_at + _PROGRESS_SECONDS:
                said_at = time.monotonic()
                self.say(message)

        return show

    def fail(self, message: str) -> None:
        """Tells people what went wrong, also with `--quiet`."""
        self._people.print(_lines_shown(f"Error: {message}"), style="red")

    def rows(self, columns: list[str], rows: list[list[Any]], style: Format) -> None:
        """Prints an answer's rows, of values that JSON has; a table shows what is no letter."""
        if len(set(columns)) < len(columns):
            raise LakehouseError(f"Two columns have one name: {', '.join(columns)}. Rename one.")
        _escape_what_it_lacks(sys.stdout)
        if self.as_json or style is Format.JSON:
            records = [dict(zip(columns, row, strict=True)) for row in rows]
            print(json.dumps(records, default=str, ensure_ascii=not _is_utf_8(sys.stdout)))
        elif style is Format.CSV:
            writer = csv.writer(_Lines(sys.stdout), lineterminator="\r\n")
            writer.writerow(columns)
            writer.writerows([_flat(value) for value in row] for row in rows)
        else:
            table = Table(*map(_shown, columns), box=None, pad_edge=False, header_style="bold")
            for column in table.columns:
                column.no_wrap = True
            for row in rows:
                table.add_row(*[Text(_shown(_flat(value))) for value in row])
            self._answers.print(table)

    def line(self, text: str, record: dict[str, Any]) -> None:
        """Prints an answer as soon as it is there: a line of text, or an object of JSON."""
        _escape_what_it_lacks(sys.stdout)
        if self.as_json:
            print(json.dumps(record, ensure_ascii=not _is_utf_8(sys.stdout)), flush=True)
        else:
            print(_shown(text), flush=True)


class _Lines:
    r"""Ends lines with `\n`; the writer is told of `\r\n`, so that it quotes what holds either."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, line: str) -> None:
        self._file.write(line.removesuffix("\r\n") + "\n")


def _flat(value: object) -> object:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _shown(value: object) -> str:
    """A value in a table's cell, with what moves or colours a terminal's text as its escape."""
    return "" if value is None else _CONTROL.sub(_escape, str(value))


def _lines_shown(text: str) -> str:
    """Lines for people; a name in them may be a stranger's."""
    return "\n".join(map(_shown, text.split("\n")))


def _escape(character: re.Match[str]) -> str:
    return character[0].encode("unicode_escape").decode()


def _escape_what_it_lacks(file: TextIO) -> None:
    """One that is not UTF-8 lacks letters."""
    if isinstance(file, TextIOWrapper):
        file.reconfigure(errors="backslashreplace")


def _is_utf_8(file: TextIO) -> bool:
    return (file.encoding or "").lower().replace("-", "") == "utf8"


output = Output()
_home: Path | None = None


def _settings() -> Settings:
    return load_settings(_home)


def _writes(command: Callable[P, None]) -> Callable[P, None]:
    """Has a command refuse to change production's data, once it is known to be asked rightly."""

    @wraps(command)
    def refusing(*arguments: P.args, **options: P.kwargs) -> None:
        check_may_write(f"lakehouse {command.__name__}")
        command(*arguments, **options)

    return refusing


@app.callback()
def options(
    home: Annotated[
        Path | None, typer.Option(help="The folder with all state; also LAKEHOUSE_HOME.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print answers as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print answers and errors only.")] = False,
) -> None:
    """Reads the options that every command has."""
    global _home  # noqa: PLW0603 - a command line has one home
    _home = home
    output.as_json = as_json
    output.quiet = quiet


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Install what can be installed.")] = False,
) -> None:
    """What is missing, and the command that fixes it."""
    settings = _settings()
    if fix:
        checks.fix(settings, output.say)
    findings = checks.examine(settings)
    output.rows(
        ["part", "state", "found", "cure"],
        [[found.part, found.state, found.what, found.cure] for found in findings],
        Format.TABLE,
    )
    if any(found.state == "missing" for found in findings):
        raise LakehouseError(
            "Something is missing: see the cures. lakehouse doctor --fix does what it can."
        )


@app.command()
def up() -> None:
    """Start the engine, unless it is up."""
    settings = _settings()
    before = engine.running_engine(settings)
    running = before or local.start(settings)
    state = "up already" if before else "up"
    output.say(
        f"The engine is {state}: process {running.pid} since {running.started_at}, Thrift on "
        f"{engine.HOST}:{running.thrift_port}, Spark Connect on {engine.HOST}:"
        f"{running.connect_port}, home {settings.paths.root}"
    )


@app.command()
def down() -> None:
    """Stop the engine."""
    output.say("The engine is down." if engine.down(_settings()) else "The engine was not up.")


@app.command()
def status() -> None:
    """The engine; per source: files, rows, rejects, lag; per mart: freshness."""
    settings = _settings()
    running = engine.running_engine(settings)
    if running is None:
        raise LakehouseError("The engine is not up. Start it with: lakehouse up")
    tables = local.declared_tables()
    with output.progress() as show:
        show("Asking the tables and what waits ...")
        report = reading.status(local.session(settings), settings.paths, tables)
        ways = all_feeds().items()
        report |= {name: feed.standing(settings.paths, tables) for name, feed in ways}
    if output.as_json:
        print(json.dumps({"engine": vars(running)} | report, default=str))
        return
    output.say(f"The engine is up: process {running.pid} since {running.started_at}")
    for records in report.values():
        if records:
            rows = [list(record.values()) for record in records]
            output.rows(list(records[0]), rows, Format.TABLE)
            print()
    _tell_strays(settings, tables)


@app.command()
@_writes
def land(
    table: Annotated[str, typer.Argument(help="SOURCE.TABLE, for example sbit.gym_logins.")],
    files: Annotated[list[Path], typer.Argument(help="The files to deliver.")],
) -> None:
    """Copy files into the inbox."""
    settings = _settings()
    _check_declared(table)
    for file in files:
        if not file.is_file():
            raise LakehouseError(f"{file} is no file.", exit_code=2)
    inbox = settings.paths.inbox / table
    inbox.mkdir(parents=True, exist_ok=True)
    names = _deliver(files, inbox)
    for file, name in zip(files, names, strict=True):
        if name != file.name:
            output.say(f"{file} is delivered as {name}")
    output.say(f"Delivered to {inbox}: {len(files)}. Take them in and build with: lakehouse run")


def _check_declared(table: str) -> None:
    known = {declared.full_name for declared in local.declared_tables()}
    if table not in known:
        close = get_close_matches(table, sorted(known), 1, 0.8)
        meant = f": did you mean {close[0]}?" if close else "."
        raise LakehouseError(
            f"{table} is no declared source{meant} Known: {', '.join(sorted(known))}", exit_code=2
        )


def _deliver(files: list[Path], inbox: Path) -> list[str]:
    """Copies files into the inbox: when all copies are whole, each gets its name.

    Returns:
        The files' names in the inbox.

    Raises:
        LakehouseError: A file cannot be copied; it names those that are delivered, mostly none.
    """
    copies = [inbox / f".{uuid.uuid4().hex}.part" for _ in files]
    names: list[str] = []
    try:
        for file, copy in zip(files, copies, strict=True):
            shutil.copyfile(file, copy)
        for file, copy in zip(files, copies, strict=True):
            names.append(_give_name(copy, file.name))
    except OSError as error:
        raise LakehouseError(
            f"{file} cannot be copied to {inbox}: {error.strerror}. Delivered: "
            f"{', '.join(names) or 'nothing'}. Mend that and land the others again."
        ) from None
    finally:
        for copy in copies:
            copy.unlink(missing_ok=True)
    return names


def _give_name(copy: Path, name: str) -> str:
    """Gives a copy a name beside it under which it is taken in and that no other file has."""
    for free in _names(accepted_name(name), os.pathconf(copy.parent, "PC_NAME_MAX")):
        with suppress(FileExistsError):  # a link never replaces what is there, as a rename would
            (copy.parent / free).hardlink_to(copy)
            break
    return free


def _names(name: str, max_bytes: int) -> Iterator[str]:
    """The name, then others with a number before its ending, each no longer than a name may be."""
    yield name
    ending = Path(name).suffix
    if len(ending) > 20:  # a sentence's rest
        ending = ""
    for number in itertools.count(2):
        stem, tail = name.removesuffix(ending), f"-{number}{ending}"
        while len(os.fsencode(stem + tail)) > max_bytes:
            stem = stem[:-1]
        yield stem + tail


def _size(told: str, most: int = 1_000_000) -> Any:
    """An option of how much is made up: bounded, since more would never be written."""
    return typer.Option(min=1, max=most, help=told)


class To(StrEnum):
    """Where made-up data goes."""

    FILES = "files"
    KAFKA = "kafka"
    POSTGRES = "postgres"


Every = Annotated[
    str | None,
    typer.Option(metavar="SECONDS", help="Rounds without end, for example every 5s; Ctrl-C ends."),
]


@app.command()
@_writes
def generate(
    domain: Annotated[Domain, typer.Argument(help="Whose data.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed, the same bytes.")] = 1,
    minutes: Annotated[int, _size("Length of the story; of retail its busy end.")] = 60,
    days: Annotated[int | None, _size("retail: days before that; 40.", 10_000)] = None,
    users: Annotated[int | None, _size("wearables: people in it; 20.")] = None,
    servers: Annotated[int | None, _size("network: servers in it; 8.")] = None,
    customers: Annotated[int | None, _size("network, retail: customers in it; 60, 200.")] = None,
    late: Annotated[float, typer.Option(min=0, max=1, help="Share of late events.")] = 0,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share that comes twice.")] = 0,
    corrupt: Annotated[float, typer.Option(min=0, max=1, help="Share of broken lines.")] = 0,
    reverse: Annotated[
        bool, typer.Option("--reversed", help="network, retail: the newest events first.")
    ] = False,
    every: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="network, retail: as it happens, a set of files every 5s; Ctrl-C ends.",
        ),
    ] = None,
    to: Annotated[
        list[To] | None,
        typer.Option(
            help="files: the inbox; kafka: messages to topics, the rest as files; postgres: the "
            "shop's tables into its database. May be given twice."
        ),
    ] = None,
) -> None:
    """Write made-up data into the inbox, send it to topics, or play it in a database."""
    home = _settings().paths
    sizes = {"days": days, "users": users, "servers": servers, "customers": customers}
    given: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    if reverse:
        given["reversed_"] = True
    story, ways = generators.story(domain), to or [To.FILES]
    strange = sorted(given.keys() - signature(story.write).parameters)
    if every is not None and not hasattr(story, "deliver"):
        strange.append("every")
    if To.POSTGRES in ways and "database" not in signature(story.write).parameters:
        strange.append("to postgres")
    if strange:
        raise LakehouseError(
            f"--{strange[0].removesuffix('_')} is no option of {domain}.", exit_code=2
        )
    if reverse and (every is not None or To.POSTGRES in ways):
        other = "--every" if every is not None else "--to postgres"
        raise LakehouseError(f"--reversed and {other} exclude each other.", exit_code=2)
    if To.KAFKA in ways:
        given["send"] = sender()
    if To.POSTGRES in ways:
        given["database"] = story.Database.of_setting()
    given |= {"minutes": minutes, "late": late, "duplicates": duplicates, "corrupt": corrupt}
    if every is None:
        files = story.write(home, seed, **given)
    else:
        seconds = _seconds(every)
        output.say(f"Delivering to {home.inbox} every {seconds:g} s, for {minutes} min ...")
        files = story.deliver(home, seed, every=seconds, **given)
    output.say(
        f"Delivered to {home.inbox}: {len(files)} files. Take them in and build with: lakehouse run"
    )


@app.command()
@_writes
def ingest(
    once: Annotated[bool, typer.Option("--once", help="One round; the default.")] = False,
    every: Every = None,
    history: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Old files, in batches; stopped, it goes on."),
    ] = None,
    into: Annotated[
        str | None, typer.Option(metavar="SOURCE.TABLE", help="Whose files these are.")
    ] = None,
) -> None:
    """Take what waits into bronze: files of the inbox, messages of Kafka, rows of PostgreSQL."""
    settings = _settings()
    if history is not None or into is not None:
        _take_in_history(settings, history, into, is_alone=every is None and not once)
        return
    if every is not None:
        _run_rounds(settings, once, every, build_every=None)
    with only_ingestion(settings.paths):
        _end(_take_in(settings), [])


def _take_in_history(
    settings: Settings, folder: Path | None, into: str | None, *, is_alone: bool
) -> None:
    if folder is None or into is None or not is_alone:
        raise LakehouseError(
            "Old files are taken in like this: lakehouse ingest --history FOLDER --into "
            "SOURCE.TABLE",
            exit_code=2,
        )
    _check_declared(into)
    if not folder.is_dir():
        raise LakehouseError(f"{folder} is no folder.", exit_code=2)
    tables = local.declared_tables()
    [table] = [table for table in tables if table.full_name == into]
    with only_ingestion(settings.paths):
        session = _session(settings)
        history = History(session, settings.paths, table, folder)
        loads = Loads(session, settings.paths, tables)
        failures: list[str] = []
        with output.progress() as show:
            for load in history.take_in(loads, show):
                failures += [line for line in load.failures if line not in failures]
        proof = history.prove()
        output.say(
            f"{into}: {proof.files:,} files; {proof.rows_in_bronze:,} rows in bronze of the "
            f"{proof.rows:,} that they hold; files delivered before: {proof.doubles}; refused, and "
            f"kept in quarantine: {len(proof.refused)}"
        )
        for name, reason in proof.refused:
            output.say(f"  {name}: {reason}")
        if failures:
            raise LakehouseError("; ".join(failures))


def _run_rounds(settings: Settings, once: bool, every: str, *, build_every: str | None) -> None:
    """Runs the live loop and ends the process with the signal that ended it."""
    from lakehouse.live import run_rounds  # noqa: PLC0415 - dbt takes a second

    if once:
        raise LakehouseError("--once and --every exclude each other.", exit_code=2)
    seconds = _seconds(every)
    pace = None if build_every is None else _seconds(build_every, "--build-every")
    _session(settings)
    _tell_strays(settings, local.declared_tables())
    sign = run_rounds(settings, seconds, output.say, build_every=pace)
    output.say("Stopped.")
    sys.exit(128 + sign)


def _seconds(text: str, option: str = "--every") -> float:
    """The seconds of `5`, `5s` or `0.5s`."""
    try:
        seconds = float(text.removesuffix("s"))
    except ValueError:
        seconds = 0
    if not 0.1 <= seconds <= 86_400:
        raise LakehouseError(
            f"{option} {text} is no time from 0.1s to 86400s, for example 5s.", exit_code=2
        )
    return seconds


def _take_in(settings: Settings) -> Load | None:
    """Takes in what waits, in a load or several, and tells of each and of all."""
    tables = local.declared_tables()
    loads = Loads(_session(settings), settings.paths, tables)
    _tell_strays(settings, tables)
    taken_in: list[Load] = []
    failed: set[tuple[str, str]] = set()
    is_done = False
    try:
        while not is_done:
            if load := loads.run(failed):  # what goes on need not have brought anything yet
                taken_in.append(load)
                failed |= load.failed
                _tell(f"load {load.load_id}", load)
            is_done = not loads.goes_on
    except (KeyboardInterrupt, PySparkException):  # the loads before are closed
        _tell_what_is_odd(together(taken_in) if taken_in else None)
        raise
    if not taken_in:
        output.say(
            "Nothing waits."
            if loads.has_any
            else "Nothing has come yet. Deliver data with lakehouse land, or make some up with "
            "lakehouse generate; then: lakehouse run"
        )
        return None
    of_all = together(taken_in)
    if len(taken_in) > 1:
        _tell(f"loads {taken_in[0].load_id} to {of_all.load_id}", of_all)
    return of_all


def _tell(title: str, load: Load) -> None:
    for source in load.sources:
        output.say(
            f"{title}: {source.source}: files {source.landed}, rows {source.rows}, "
            f"duplicate files {source.duplicates}, quarantined {len(source.quarantined)}"
        )


def _tell_strays(settings: Settings, tables: list[SourceTable]) -> None:
    for path in stray_entries(settings.paths, with_parts(tables)):
        output.say(
            f"Warning: {path} is never taken in: only what lies in the folder of a declared source "
            "is. Deliver it with: lakehouse land SOURCE.TABLE FILE"
        )


def _end(load: Load | None, failures: list[str]) -> None:
    """Says last what has drifted or went to quarantine, which is no failure, and what failed.

    Raises:
        LakehouseError: A source failed, or what else has.
    """
    _tell_what_is_odd(load)
    if failures := [*failures, *(load.failures if load else ())]:
        raise LakehouseError("; ".join(failures))


def _tell_what_is_odd(load: Load | None) -> None:
    if load is None:
        return
    for line in load.drifts:
        output.say(f"Other columns than the declared ones: {line}")
    for block in load.declarations:
        output.say(block)
    for line in load.refusals:
        output.say(f"Refused, and kept in quarantine: {line}")


def _session(settings: Settings) -> SparkSession:
    if engine.running_engine(settings) is None:
        output.say("Starting the engine ...")
    return local.session(settings)


@app.command()
@_writes
def run(
    once: Annotated[bool, typer.Option("--once", help="One round; the default.")] = False,
    every: Every = None,
    build_every: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="With --every: how long after the end of the builds the next begin; 60s.",
        ),
    ] = None,
) -> None:
    """Ingest, then build, test and publish the domains that have news."""
    from lakehouse.build import Builds  # noqa: PLC0415 - needed here alone

    settings = _settings()
    if every is not None:
        _run_rounds(settings, once, every, build_every=build_every or "60s")
    if build_every is not None:
        raise LakehouseError("--build-every goes with --every.", exit_code=2)
    with only_ingestion(settings.paths):
        load = _take_in(settings)
        failures = []
        try:
            with output.progress() as show:
                for done in Builds(settings, show).bring_up_to_date():
                    if done.did or not done.failure:
                        idle = "; ".join(filter(None, ["nothing new", done.held]))
                        output.say(f"{done.domain}: {', '.join(done.did) or idle}")
                    if done.failure:
                        failures.append(f"{done.domain}: {done.failure}")
        except (LakehouseError, LockedError, PySparkException) as error:
            failures.append(first_line(error))
        except KeyboardInterrupt:  # the next run finds the load closed, and has nothing to tell
            _tell_what_is_odd(load)
            raise
        _end(load, failures)


@app.command()
@_writes
def accept(
    table: Annotated[str, typer.Argument(help="SOURCE.TABLE, as the error names it.")],
) -> None:
    """Go on although something is lost that had stopped a source; audit.loads keeps what."""
    settings = _settings()
    _check_declared(table)
    with only_ingestion(settings.paths):
        session = _session(settings)
        for line in Loads(session, settings.paths, local.declared_tables()).accept(table):
            output.say(f"Accepted: {line}")


@app.command()
@_writes
def maintain(
    retain_hours: Annotated[
        int,
        typer.Option(
            min=0,
            max=maintenance.RETAIN_HOURS,
            help="How long versions are kept that nobody reads.",
        ),
    ] = maintenance.RETAIN_HOURS,
) -> None:
    """Compact the tables, remove what they no longer have, and archive landed files.

    It starts the engine and leaves it up, and refuses beside a build or an ingestion: `run --every`
    does all this by itself. With --retain-hours 0 after a killed build: `lakehouse down` first.
    """
    settings = _settings()
    if not settings.paths.warehouse.exists():
        raise LakehouseError(
            f"{settings.paths.root} holds no lakehouse. Check --home and LAKEHOUSE_HOME.",
            exit_code=2,
        )
    _session(settings)
    done, archived, failures = maintenance.maintain(settings, retain_hours)
    columns = ["table", "files compacted", "files removed", "log files removed", "note"]
    output.rows(columns, [list(astuple(upkeep)) for upkeep in done], Format.TABLE)
    output.say(f"Landed files archived: {archived}")
    if failures:
        raise LakehouseError("\n".join(failures))


@app.command()
def restore(
    domain: Annotated[str, typer.Argument(help="As lakehouse status names it.")],
    to: Annotated[
        int | None, typer.Option(metavar="PUBLICATION", help="Readers see this one again.")
    ] = None,
    release: Annotated[
        bool, typer.Option("--release", help="Let the next run publish again.")
    ] = False,
) -> None:
    """Go back to what readers saw before; alone, it lists the last ten publications.

    What is built stays, builds and live views go on, and nothing is published until --release.
    """
    from lakehouse import restore as publications  # noqa: PLC0415 - the command has its name

    if to is not None and release:
        raise LakehouseError("--to and --release exclude each other.", exit_code=2)
    if to is not None or release:
        check_may_write("lakehouse restore")
    settings = _settings()
    session = _session(settings)
    if to is None and not release:
        found = publications.publications_of(session, domain)[:10]
        columns = ["publication", "load", "published_at", "as_of", "shown", "gone"]
        rows = []
        for one in found:
            told = (one.number, one.load, one.published_at, one.as_of, one.is_shown)
            rows.append([*told, publications.why_gone(session, one.marts)])
        output.rows(columns, rows, Format.TABLE)
        if not found:
            output.say(f"Nothing of {domain} is published yet.")
        return
    with local.only_build(settings):
        if to is None:
            publications.release(session, domain)
            output.say(f"{domain}: the next lakehouse run tests what is built, and publishes it.")
            return
        back = publications.go_back(session, domain, to)
        output.say(
            f"{domain}: readers see publication {to}, of {back.published_at} (load {back.load}). "
            "Builds go on, and nothing is published until: lakehouse restore "
            f"{domain} --release"
        )


@app.command(context_settings={"ignore_unknown_options": True})  # SQL may begin with a comment
def query(
    sql: Annotated[str, typer.Argument(help="One statement.")],
    style: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
) -> None:
    """Ask the lakehouse in SQL."""
    if not sql.strip():
        raise LakehouseError("The statement is empty. Write one.", exit_code=2)
    try:
        sql.encode()
    except UnicodeEncodeError:
        raise LakehouseError("The statement is not UTF-8. Write it so.", exit_code=2) from None
    columns, rows = reading.ask(_session(_settings()), sql)
    output.rows(columns, rows, style)


@app.command()
def alerts(
    follow: Annotated[
        bool,
        typer.Option("--follow", help="A line for each as it opens and as it closes; Ctrl-C ends."),
    ] = False,
) -> None:
    """What needs somebody now: products low in a warehouse, overloaded servers.

    With --follow each is told at least once, and the next --follow of this home goes on where this
    one has stopped. An overload is told once it has lasted a minute by the data's time, so not
    while no data comes; without --follow at once. docs/operations.md pipes it into a web hook.
    """
    settings = _settings()
    if follow:
        _follow_alerts(settings)
    is_any = False
    ask = reading.asking(_session(settings))
    with output.progress() as show:
        show("Asking what needs somebody ...")
        needed = list(alerting.needed_now(ask))
    for kind, rows in needed:
        if output.as_json:
            for row in rows:
                output.line("", {"kind": kind.name} | row)
        elif rows:
            shown = [list(alerting.as_read(row).values()) for row in rows]
            output.rows(list(rows[0]), shown, Format.TABLE)
            print()
        is_any = is_any or bool(rows)
    if not is_any:
        output.say("Nothing needs anybody.")


def _follow_alerts(settings: Settings) -> NoReturn:
    with alerting.only_follower(settings.paths):
        follower = alerting.Follower(
            settings.paths,
            reading.asking_what_is_up(settings),
            lambda event: output.line(event.text, event.record),
        )
        try:
            alerting.follow(follower, output.say)
        except BrokenPipeError:
            # What could not be written would be tried again at the end, and complained about.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise LakehouseError(
                "Nobody reads the alerts any more. What was not told is the first that the next "
                "lakehouse alerts --follow tells."
            ) from None
        except KeyboardInterrupt:
            output.say("Stopped.")
            sys.exit(130)


@app.command()
def report(
    live: Annotated[
        bool,
        typer.Option("--live", help="Serve it, and refresh its page of now; Ctrl-C ends."),
    ] = False,
) -> None:
    """Write the site, a page a domain that opens with its answer, and print its address."""
    from lakehouse.report import site  # noqa: PLC0415 - Altair takes a second

    settings = _settings()
    folder = settings.paths.site
    session = _session(settings)
    if not live:
        with output.progress() as show:
            if local.is_begun(settings):
                from lakehouse import documents  # noqa: PLC0415 - dbt takes a second

                documents.write(settings, folder, show)
            start = site.write(folder, reading.asking(session), settings.paths.tables_here, show)
        output.line(start.as_uri(), {"address": start.as_uri()})
        return
    # A screen on the wall waits for its own page alone.
    from lakehouse.report.live import server  # noqa: PLC0415 - needed here alone

    with server(folder, reading.asking_what_is_up(settings), site.links_there(folder)) as serving:
        host, port = serving.server_address[:2]
        address = f"http://{host!s}:{port}/live.html"
        output.line(address, {"address": address})
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            output.say("Stopped.")
            sys.exit(130)


@contextmanager
def told() -> Iterator[None]:
    """Turns a failure that a user can do something about into its line and exit status."""
    try:
        yield
    except LakehouseError as error:
        output.fail(str(error))
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        output.fail(_asked_wrongly(error))
        sys.exit(error.exit_code)
    except (GateError, LoadError, LockedError) as error:
        output.fail(str(error))
        sys.exit(1)
    except PySparkException as error:
        output.fail(first_line(error))
        sys.exit(1)
    except OSError as error:
        output.fail(of_system(error))
        sys.exit(1)
    except KeyboardInterrupt:
        output.fail("Interrupted. Run it again.")
        sys.exit(130)


def _asked_wrongly(error: typer.TyperException) -> str:
    """What the command line does not know, and whose help tells."""
    message = " ".join(error.format_message().split()).replace("Value error, ", "")
    if isinstance(error.__cause__, ValidationError):
        given = error.__cause__.errors()[0]["input"]
        message = message.replace("Input should", f"{given} should")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "lakehouse [COMMAND]"
    return f"{message.rstrip('.')}. See: {command} --help"


def _options_first(arguments: list[str]) -> list[str]:
    """Moves the options that every command has to where they are read: before the command."""
    first: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            rest += [argument, *waiting]
        elif argument in ("--json", "--quiet"):
            first.append(argument)
        elif argument == "--home" or argument.startswith("--home="):
            _, is_joined, joined = argument.partition("=")
            folder = joined if is_joined else next(waiting, "")
            # An empty one would be the folder one stands in.
            if not folder:
                raise LakehouseError("--home needs a folder.", exit_code=2)
            first += ["--home", folder]
        else:
            rest.append(argument)
    return first + rest


def main() -> None:
    """The entry point of the `lakehouse` command."""
    # pyspark logs every failed statement with the server's stack; people get the first line.
    logging.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)
    with told():
        arguments = _options_first(sys.argv[1:] or ["--help"])
        status = app(arguments, prog_name="lakehouse", standalone_mode=False)
        if status == 130:  # typer has caught it
            raise KeyboardInterrupt
        sys.exit(status)
