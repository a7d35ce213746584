"""The `lakehouse` command line. Exit status 0: done; 1: failed; 2: asked in a wrong way."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from pyspark.errors import PySparkException
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ingestion.gate import GateError
from ingestion.loads import Loads, first_line, only_ingestion
from ingestion.lock import LockedError
from lakehouse import doctor as checks
from lakehouse import engine, local, reading
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings, load_settings

app = typer.Typer(
    help="A dbt-on-Spark lakehouse: raw events to answers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class Domain(StrEnum):
    """What data can be made up."""

    WEARABLES = "wearables"


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
        """Tells people what happens; silent with `--quiet`."""
        if not self.quiet:
            self._people.print(message)

    def fail(self, message: str) -> None:
        """Tells people what went wrong, also with `--quiet`."""
        self._people.print(f"Error: {message}", style="red")

    def rows(self, columns: list[str], rows: list[list[Any]], style: Format) -> None:
        """Prints an answer's rows."""
        if self.as_json or style is Format.JSON:
            records = [dict(zip(columns, row, strict=True)) for row in rows]
            print(json.dumps(records, default=str, ensure_ascii=False))
        elif style is Format.CSV:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows(rows)
        else:
            table = Table(*columns, box=None, pad_edge=False, header_style="bold")
            for column in table.columns:
                column.no_wrap = True
            for row in rows:
                table.add_row(*[Text("" if value is None else str(value)) for value in row])
            self._answers.print(table)


output = Output()
_home: Path | None = None


def _settings() -> Settings:
    return load_settings(_home)


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
        checks.fix(output.say)
    findings = checks.examine(settings)
    output.rows(
        ["part", "state", "found", "cure"],
        [[found.part, found.state, found.what, found.cure] for found in findings],
        Format.TABLE,
    )
    if any(found.state == "missing" for found in findings):
        raise LakehouseError("Something is missing. Run: lakehouse doctor --fix")


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
    report = reading.status(local.session(settings), settings.paths, local.declared_tables())
    if output.as_json:
        print(json.dumps({"engine": vars(running)} | report, default=str))
        return
    output.say(f"The engine is up: process {running.pid} since {running.started_at}")
    for records in report.values():
        if records:
            rows = [list(record.values()) for record in records]
            output.rows(list(records[0]), rows, Format.TABLE)
            print()


@app.command()
def land(
    table: Annotated[str, typer.Argument(help="SOURCE.TABLE, for example sbit.gym_logins.")],
    files: Annotated[list[Path], typer.Argument(help="The files to deliver.")],
) -> None:
    """Copy files into the inbox."""
    settings = _settings()
    known = {declared.full_name for declared in local.declared_tables()}
    if table not in known:
        raise LakehouseError(
            f"{table} is no declared source. Known: {', '.join(sorted(known))}", exit_code=2
        )
    for file in files:
        if not file.is_file():
            raise LakehouseError(f"{file} is no file.", exit_code=2)
    inbox = settings.paths.inbox / table
    inbox.mkdir(parents=True, exist_ok=True)
    for file in files:
        copy = inbox / f".{os.getpid()}.part"
        shutil.copyfile(file, copy)
        copy.replace(_free_name(inbox, file))
    output.say(f"{len(files)} files wait in {inbox}. Take them in with: lakehouse ingest")


def _free_name(inbox: Path, file: Path) -> Path:
    """A name in the inbox that no waiting file has: a delivery never replaces another."""
    names = (file.name, *(f"{file.stem}-{n}{file.suffix}" for n in range(2, 1_000_000)))
    return next(inbox / name for name in names if not (inbox / name).exists())


@app.command()
def generate(
    domain: Annotated[Domain, typer.Argument(help="Whose data.")],
    seed: Annotated[int, typer.Option(help="The same seed, the same bytes.")] = 1,
    minutes: Annotated[int, typer.Option(min=1, help="Length of the story.")] = 60,
    users: Annotated[int, typer.Option(min=1, help="People in it.")] = 20,
    late: Annotated[float, typer.Option(min=0, max=1, help="Share of late events.")] = 0,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share that comes twice.")] = 0,
    corrupt: Annotated[float, typer.Option(min=0, max=1, help="Share of broken lines.")] = 0,
) -> None:
    """Write made-up data into the inbox, and the answers it must give beside them."""
    from ingestion.generators import wearables  # noqa: PLC0415 - Faker, needed here alone

    generators = {Domain.WEARABLES: wearables.write}
    *files, answers = generators[domain](
        _settings().paths,
        seed,
        minutes=minutes,
        users=users,
        late=late,
        duplicates=duplicates,
        corrupt=corrupt,
    )
    output.say(f"{len(files)} files wait in the inbox; the answers they must give: {answers}")


@app.command()
def ingest(
    once: Annotated[bool, typer.Option("--once", help="One round; the default.")] = True,
) -> None:
    """Take what waits in the inbox into bronze."""
    _ingest(_settings())


def _ingest(settings: Settings) -> None:
    with only_ingestion(settings.paths):
        session = local.session(settings)
        load = Loads(session, settings.paths, local.declared_tables()).run()
    if load is None:
        output.say("Nothing waits in the inbox.")
        return
    for source in load.sources:
        output.say(
            f"load {load.load_id}: {source.source}: {source.landed} files, {source.rows} rows, "
            f"{source.duplicates} duplicates, {len(source.quarantined)} quarantined"
        )
        for name, reason in source.quarantined:
            output.say(f"  {name}: {reason}")
    failures = [f"{load.source}: {load.failure}" for load in load.sources if load.failure]
    if failures:
        raise LakehouseError("; ".join(failures))


@app.command()
def run(
    once: Annotated[bool, typer.Option("--once", help="One round; the default.")] = True,
) -> None:
    """Ingest, then build and test what the arrivals touch, and publish it."""
    settings = _settings()
    local.start(settings)
    failure: LakehouseError | None = None
    try:
        _ingest(settings)
    except LakehouseError as error:
        failure = error  # what came in is built all the same
    from lakehouse.build import dbt  # noqa: PLC0415 - dbt takes a second, needed here alone

    dbt(settings, "build", quiet=output.quiet)
    if failure:
        raise failure


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One statement.")],
    style: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.TABLE,
) -> None:
    """Ask the lakehouse in SQL."""
    columns, rows = reading.ask(local.session(_settings()), sql)
    output.rows(columns, rows, style)


@contextmanager
def _told() -> Iterator[None]:
    """Turns a failure that a user can do something about into its line and exit status."""
    try:
        yield
    except LakehouseError as error:
        output.fail(str(error))
        sys.exit(error.exit_code)
    except (GateError, LockedError) as error:
        output.fail(str(error))
        sys.exit(1)
    except PySparkException as error:
        output.fail(first_line(error))
        sys.exit(1)
    except OSError as error:
        output.fail(f"{error.filename or 'the system'}: {error.strerror or error}")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def main() -> None:
    """The entry point of the `lakehouse` command."""
    with _told():
        app()
