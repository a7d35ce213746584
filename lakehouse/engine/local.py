"""The local lakehouse ready for use: the engine up, the declared tables there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from ingestion.bronze import connect, create_tables
from ingestion.declaration import DeclarationError, SourceTable, read_declarations
from ingestion.lock import locked
from lakehouse.engine.process import Engine, up
from lakehouse.environment import mark_home
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, Settings


def declared_tables() -> list[SourceTable]:
    """The tables that dbt's sources files declare.

    Raises:
        LakehouseError: A declaration is wrong.
    """
    try:
        return list(read_declarations(PROJECT / "models").values())
    except DeclarationError as error:
        raise LakehouseError(str(error)) from None


def start(settings: Settings) -> Engine:
    """Starts the engine if it is down, and creates what dbt and readers expect to find.

    Raises:
        LakehouseError: The engine cannot be started, or it is up on another port than this
            process's settings say, or a declaration is wrong.
    """
    tables = declared_tables()
    running = up(settings)
    if running.target != settings.target:
        raise LakehouseError(
            f"The engine of {settings.paths.root} is up for target {running.target}, and "
            f"{settings.target} is asked for. A target has a home of its own: see LAKEHOUSE_HOME."
        )
    mark_home(settings.paths.root)
    if running.thrift_port != settings.port:
        raise LakehouseError(
            f"The engine of {settings.paths.root} is up on port {running.thrift_port}, but by "
            f"LAKEHOUSE_HOME and LAKEHOUSE_THRIFT_PORT it should be {settings.port}. Set them as "
            "they were, or stop the engine with them."
        )
    created = settings.paths.root / "engine" / "tables"
    needed = f"{settings.paths.warehouse}\n{tables!r}"
    if not created.exists() or created.read_text() != needed:
        create_tables(connect(running.remote, running.identity), tables)
        created.write_text(needed)
    return running


def is_begun(settings: Settings) -> bool:
    """Whether dbt has built any table of this home; the engine need not be up to tell."""
    schemas = settings.paths.warehouse.glob("*silver.db")
    return any(any(schema.iterdir()) for schema in schemas)


def session(settings: Settings) -> SparkSession:
    """An open session on the engine, which is started where need be.

    Raises:
        LakehouseError: The engine cannot be started, or a declaration is wrong.
    """
    running = start(settings)
    return connect(running.remote, running.identity)


@contextmanager
def only_build(settings: Settings) -> Iterator[None]:
    """Holds the right to build in this home; it frees itself when the process ends.

    A process that holds it may ask for it again, so that several commands of dbt are one build.

    Raises:
        LockedError: Another process builds at the moment.
    """
    claim = settings.paths.root / "engine" / "build.lock"
    if claim in _held:
        yield
        return
    with locked(claim, "builds this lakehouse"):
        _held.add(claim)
        try:
            yield
        finally:
            _held.remove(claim)


# The claims that this process holds.
_held: set[Path] = set()
