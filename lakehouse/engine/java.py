"""Finds a Java runtime that can run Spark 4, or installs one with the system's package manager."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from lakehouse.errors import LakehouseError

SUPPORTED = (17, 21)
# Spark 4 starts its JVM with this module added; a runtime image without it refuses to start.
NEEDED_MODULE = "jdk.incubator.vector"


@dataclass(frozen=True)
class Java:
    """A Java runtime: its home folder and its major version."""

    home: Path
    version: int


def find_java() -> Java | None:
    """The first suitable runtime among `JAVA_HOME`, `java` on the path and the usual folders."""
    return next((java for home in _candidates() if (java := _probe(home))), None)


def require_java() -> Java:
    """Like `find_java`.

    Raises:
        LakehouseError: There is none; the message holds the command that installs one.
    """
    if java := find_java():
        return java
    raise LakehouseError(f"No Java {_versions()} was found. Install it with: {install_command()}")


def install_command() -> str:
    """The command that installs Java on this system."""
    return " && ".join(" ".join(step) for step in _install_steps()) or (
        f"your system's package manager (a JRE of version {_versions()}), then set JAVA_HOME"
    )


def install_java() -> Java:
    """Installs Java with the system's package manager.

    Raises:
        LakehouseError: That cannot be done here, or it failed.
    """
    steps = _install_steps()
    root = sys.platform == "darwin" or os.geteuid() == 0
    if not steps or not root:
        return require_java()
    for step in steps:
        if subprocess.run(step, check=False).returncode:
            raise LakehouseError(f"Java could not be installed: `{' '.join(step)}` failed.")
    return require_java()


def _versions() -> str:
    return " or ".join(str(version) for version in SUPPORTED)


def _install_steps() -> list[list[str]]:
    if shutil.which("brew") and sys.platform == "darwin":
        return [["brew", "install", "openjdk@17"]]
    if shutil.which("apt-get"):
        return [
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", _debian_package()],
        ]
    if shutil.which("dnf"):
        return [["dnf", "install", "-y", "java-21-openjdk-headless"]]
    return []


def _debian_package() -> str:
    for version in SUPPORTED:
        name = f"openjdk-{version}-jre-headless"
        shown = subprocess.run(
            ["apt-cache", "policy", name], capture_output=True, text=True, check=False
        ).stdout
        if re.search(r"Candidate: \d", shown):
            return name
    return f"openjdk-{SUPPORTED[0]}-jre-headless"


def _candidates() -> list[Path]:
    homes = [Path(text)] if (text := os.environ.get("JAVA_HOME")) else []
    if binary := shutil.which("java"):
        homes.append(Path(binary).resolve().parents[1])
    for folder in ("/usr/lib/jvm", "/Library/Java/JavaVirtualMachines", "/opt/homebrew/opt"):
        if Path(folder).is_dir():
            for child in sorted(Path(folder).glob("*")):
                homes += [child, child / "Contents" / "Home", child / "libexec/openjdk.jdk"]
    return homes


def _probe(home: Path) -> Java | None:
    binary = home / "bin" / "java"
    if not binary.is_file():
        return None
    try:
        answer = subprocess.run(
            [binary, "--list-modules"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    modules = dict(line.split("@", 1) for line in answer.stdout.splitlines() if "@" in line)
    version = int(re.split(r"[.+-]", modules.get("java.base", "0"))[0])
    if version in SUPPORTED and NEEDED_MODULE in modules:
        return Java(home=home, version=version)
    return None
