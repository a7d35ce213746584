"""The locked jars: fetched once by coordinate, checked against their hashes at every start."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lakehouse.engine.java import Java
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT

LOCK = Path(__file__).with_name("jars.lock")
JARS = PROJECT / ".tools" / "jars"


@dataclass(frozen=True)
class Jar:
    """A locked jar: Maven coordinates and the hash of its bytes."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def path(self) -> Path:
        """Where the jar stands once it is fetched."""
        return JARS / f"{self.artifact}-{self.version}.jar"

    def fault(self) -> str | None:
        """What is wrong with the jar on disk: `missing`, `changed`, or nothing."""
        if not self.path.is_file():
            return "missing"
        with self.path.open("rb") as stream:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256
        return None if same else "changed"


def locked_jars() -> list[Jar]:
    """The jars of `jars.lock`, in its order."""
    lines = [line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    jars = []
    for digest, coordinates in lines:
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, digest))
    return jars


def verified_jars() -> list[Path]:
    """The paths of all locked jars.

    Raises:
        LakehouseError: A jar is missing, or its bytes are not the locked ones.
    """
    for jar in locked_jars():
        if fault := jar.fault():
            raise LakehouseError(
                f"The jar {jar.path} is {fault}. Fetch it with: lakehouse doctor --fix"
            )
    return [jar.path for jar in locked_jars()]


def fetch_jars(java: Java) -> None:
    """Fetches what is missing or changed, with the Ivy that Spark ships and its default resolver.

    Raises:
        LakehouseError: A jar cannot be fetched, or it is not the locked one.
    """
    JARS.mkdir(parents=True, exist_ok=True)
    ivy = next((spark_home() / "jars").glob("ivy-*.jar"))
    for jar in locked_jars():
        if not jar.fault():
            continue
        with tempfile.TemporaryDirectory(dir=JARS) as folder:
            fetched = Path(folder) / jar.path.name
            answer = subprocess.run(
                [
                    *(java.home / "bin" / "java", "-jar", ivy, "-cache", f"{folder}/cache"),
                    *("-dependency", jar.group, jar.artifact, jar.version),
                    *("-confs", "default", "-notransitive", "-types", "jar", "bundle"),
                    *("-retrieve", f"{folder}/[artifact]-[revision].[ext]"),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            name = f"{jar.group}:{jar.artifact}:{jar.version}"
            if not fetched.is_file():
                reason = (answer.stdout + answer.stderr).strip().splitlines()[-1:]
                raise LakehouseError(f"The jar {name} could not be fetched: {' '.join(reason)}")
            fetched.replace(jar.path)
        if jar.fault():
            jar.path.unlink()
            raise LakehouseError(f"The jar {name} is not the one that {LOCK.name} names: refused.")


def spark_home() -> Path:
    """The folder of pip's pyspark, which holds Spark's own jars and scripts."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise LakehouseError("pyspark is not installed here. Run: make setup")
    return Path(spec.origin).parent
