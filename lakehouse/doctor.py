"""What an installation needs, what of it is there, and how to get the rest."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from ingestion.feed import all_feeds
from lakehouse import engine
from lakehouse.engine.jars import fetch_jars, jars_of
from lakehouse.engine.java import find_java, install_command, install_java
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, Settings


@dataclass(frozen=True)
class Finding:
    """One part of the installation: `ok`, `missing` or `note`, what was found, and the cure."""

    part: str
    state: str
    what: str
    cure: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Looks at every part that the lakehouse needs."""
    return [
        _python(),
        _dbt(),
        _java(),
        *_jars(settings),
        _home(settings),
        _engine(settings),
        *_feeds(),
    ]


def fix(settings: Settings, say: Callable[[str], None]) -> None:
    """Installs Java with the system's package manager and fetches the jars, where missing.

    Raises:
        LakehouseError: Something cannot be installed; the message says what to type.
    """
    java = find_java()
    if java is None:
        say(f"Installing Java: {install_command()}")
        java = install_java()
    jars = jars_of(settings.target)
    if any(jar.fault() for jar in jars):
        say("Fetching the jars")
        fetch_jars(java, jars)


def _python() -> Finding:
    fits = (3, 11) <= sys.version_info[:2] <= (3, 12)
    cure = "" if fits else "install Python 3.11 or 3.12, then: make setup"
    return Finding("python", "ok" if fits else "missing", platform.python_version(), cure)


def _dbt() -> Finding:
    binary = shutil.which("dbt", path=str(PROJECT / ".venv" / "bin"))
    return Finding(
        "dbt", "ok" if binary else "missing", binary or "-", "" if binary else "make setup"
    )


def _java() -> Finding:
    java = find_java()
    if java:
        return Finding("java", "ok", f"{java.version} in {java.home}")
    return Finding("java", "missing", "no Java 17 or 21", install_command())


def _jars(settings: Settings) -> list[Finding]:
    return [
        Finding(
            f"jar {jar.artifact}",
            "missing" if (fault := jar.fault()) else "ok",
            fault or jar.version,
            "lakehouse doctor --fix" if fault else "",
        )
        for jar in jars_of(settings.target)
    ]


def _home(settings: Settings) -> Finding:
    root = settings.paths.root
    try:
        root.mkdir(parents=True, exist_ok=True)
        (root / ".writable").touch()
        (root / ".writable").unlink()
    except OSError as error:
        cure = "point LAKEHOUSE_HOME at a folder that you may write to"
        return Finding("home", "missing", f"{root}: {error.strerror}", cure)
    free = shutil.disk_usage(root).free // 1024**3
    return Finding("home", "ok", f"{root}, {free} GiB free")


def _engine(settings: Settings) -> Finding:
    try:
        running = engine.running_engine(settings)
    except LakehouseError as error:
        return Finding("engine", "note", str(error))
    if running:
        return Finding("engine", "ok", f"up, process {running.pid}, port {running.thrift_port}")
    return Finding("engine", "note", "down; whatever needs it starts it", "lakehouse up")


def _feeds() -> list[Finding]:
    """What is set up besides files; nobody needs any of it."""
    settings = {name: feed.setting() for name, feed in all_feeds().items()}
    return [Finding(name, "note", *setting) for name, setting in settings.items() if setting]
