"""The local lakehouse ready for use: the engine up, the declared tables there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pyspark.sql import SparkSession

from ingestion.bronze import connect, create_tables
from ingestion.declaration import DeclarationError, SourceTable, read_declarations
from ingestion.lock import locked
from lakehouse.engine.process import Engine, up
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
    if running.thrift_port != settings.port:
        raise LakehouseError(
            f"The engine of {settings.paths.root} is up on port {running.thrift_port}, but by "
            f"LAKEHOUSE_HOME and LAKEHOUSE_THRIFT_PORT it should be {settings.port}. Set them as "
            "they were, or stop the engine with them."
        )
    created = settings.paths.root / "engine" / "tables"
    if not created.exists() or created.read_text() != repr(tables):
        create_tables(connect(running.remote, running.identity), tables)
        created.write_text(repr(tables))
    return running


def is_begun(settings: Settings) -> bool:
    """Whether dbt has built any table of this home; the engine need not be up to tell."""
    return any(settings.paths.warehouse.glob("*silver.db/*"))


def session(settings: Settings) -> SparkSession:
    """An open session on the engine, which is started where need be.

    Raises:
        LakehouseError: The engine cannot be started, or a declaration is wrong.
    """
    running = start(settings)
    return connect(running.remote, running.identity)


@contextmanager
def only_build(settings: Settings, pace: str = "") -> Iterator[None]:
    """Holds the right to build in this home; it frees itself when the process ends.

    The models tagged `live` and the rest of them are two rights: the live loop holds the one, the
    build beside it the other, and every other build both.

    Args:
        settings: The installation.
        pace: `live`, `rest`, or nothing for both.

    Raises:
        LockedError: Another process builds at the moment.
    """
    with ExitStack() as held:
        for part in ("live", "rest"):
            if pace in ("", part):
                held.enter_context(locked(_claim(settings, part), "builds this lakehouse"))
        yield


def last_builder(settings: Settings, pace: str) -> int | None:
    """The process that last held the right to build `live` or `rest`; None if nobody ever did."""
    claim = _claim(settings, pace)
    return int(claim.read_text() or 0) if claim.exists() else None


def _claim(settings: Settings, pace: str) -> Path:
    return settings.paths.root / "engine" / f"build-{pace}.lock"
