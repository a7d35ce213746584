"""The locked jars: fetched once by coordinate, checked against their hashes at every start."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from lakehouse.engine.java import Java
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT

LOCK = Path(__file__).with_name("jars.lock")
# What a cluster needs besides, and nobody else fetches.
CLUSTER_LOCK = Path(__file__).with_name("cluster_jars.lock")
JARS = PROJECT / ".tools" / "jars"


_IVY = """\
<ivy-module version="2.0">
  <info organisation="lakehouse" module="jars"/>
  <configurations><conf name="default"/></configurations>
  <dependencies>{dependencies}</dependencies>
</ivy-module>
"""
_DEPENDENCY = '<dependency org="{}" name="{}" rev="{}" transitive="false" conf="default"/>'


@dataclass(frozen=True)
class Jar:
    """A locked jar: Maven coordinates, the hash of its bytes, and the folder that it is kept in."""

    group: str
    artifact: str
    version: str
    sha256: str
    folder: Path

    @property
    def path(self) -> Path:
        """Where the jar stands once it is fetched."""
        return self.folder / f"{self.artifact}-{self.version}.jar"

    def fault(self) -> str | None:
        """What is wrong with the jar on disk: `missing`, `changed`, or nothing."""
        if not self.path.is_file():
            return "missing"
        with self.path.open("rb") as stream:
            same = hashlib.file_digest(stream, "sha256").hexdigest() == self.sha256
        return None if same else "changed"


def locked_jars(lock: Path = LOCK, folder: Path = JARS) -> list[Jar]:
    """The jars of a lock file, in its order."""
    lines = [line.split() for line in lock.read_text().splitlines() if not line.startswith("#")]
    jars = []
    for digest, coordinates in lines:
        group, artifact, version = coordinates.split(":")
        jars.append(Jar(group, artifact, version, digest, folder))
    return jars


def jars_of(target: str) -> list[Jar]:
    """The jars that the engine of a target needs."""
    return locked_jars() + (locked_jars(CLUSTER_LOCK) if target == "cluster" else [])


def verified_jars(target: str = "local") -> list[Path]:
    """The paths of the engine's jars.

    Raises:
        LakehouseError: A jar is missing, or its bytes are not the locked ones.
    """
    jars = jars_of(target)
    for jar in jars:
        if fault := jar.fault():
            raise LakehouseError(
                f"The jar {jar.path} is {fault}. Fetch it with: lakehouse doctor --fix"
            )
    return [jar.path for jar in jars]


def fetch_jars(java: Java, jars: list[Jar]) -> None:
    """Fetches what is missing or changed, with the Ivy that Spark ships and its default resolver.

    Raises:
        LakehouseError: A jar cannot be fetched, or it is not the locked one.
    """
    lacking = [jar for jar in jars if jar.fault()]
    if not lacking:
        return
    target = lacking[0].folder
    target.mkdir(parents=True, exist_ok=True)
    ivy = next((spark_home() / "jars").glob("ivy-*.jar"))
    with tempfile.TemporaryDirectory(dir=target) as folder:
        wanted = Path(folder) / "ivy.xml"
        dependencies = (_DEPENDENCY.format(jar.group, jar.artifact, jar.version) for jar in lacking)
        wanted.write_text(_IVY.format(dependencies="".join(dependencies)))
        answer = subprocess.run(
            [
                *(java.home / "bin" / "java", "-jar", ivy, "-cache", f"{folder}/cache"),
                *("-ivy", wanted, "-confs", "default", "-types", "jar", "bundle"),
                *("-retrieve", f"{folder}/[artifact]-[revision].[ext]"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        for jar in lacking:
            fetched = Path(folder) / jar.path.name
            name = f"{jar.group}:{jar.artifact}:{jar.version}"
            if not fetched.is_file():
                reason = (answer.stdout + answer.stderr).strip().splitlines()[-1:]
                raise LakehouseError(f"The jar {name} could not be fetched: {' '.join(reason)}")
            if replace(jar, folder=Path(folder)).fault():
                raise LakehouseError(f"The jar {name} is not the locked one: refused.")
            fetched.replace(jar.path)


def spark_home() -> Path:
    """The folder of pip's pyspark, which holds Spark's own jars and scripts."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise LakehouseError("pyspark is not installed here. Run: make setup")
    return Path(spec.origin).parent
