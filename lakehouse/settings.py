"""What can be set from outside: environment variables that begin with `LAKEHOUSE_`.

Whose installation it is, dev's, test's or prod's, is said in `lakehouse.environment`.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from ingestion.home import Home
from ingestion.stored import Stored
from lakehouse.environment import check_home
from lakehouse.errors import LakehouseError

# Derby takes what follows a `;` for an option, Spark a `,` and Java a `:` for the end of a folder,
# and ingestion's streams the brackets, `*` and `?` for patterns; the rest would need escaping.
_UNFIT = re.compile(r'[;,:*?\[\]{}"\\\x00-\x1f\x7f\ud800-\udfff]|\s$')
PROJECT = Path(__file__).resolve().parents[1]
DEFAULT_THRIFT_PORT = 10015


def project_vars(project: Path = PROJECT) -> dict[str, Any]:
    """The vars of a dbt project."""
    text = (project / "dbt_project.yml").read_text(encoding="utf-8")
    told: dict[str, Any] = yaml.safe_load(text)["vars"]
    return told


class Cluster(BaseSettings):
    """A cluster that the engine works on; each field is `LAKEHOUSE_CLUSTER_<FIELD>`.

    Attributes:
        master: The cluster's address, as Spark has it.
        storage: Where the tables, the landed files and the streams' memory are.
        catalog: The PostgreSQL database of the catalog, as libpq has it; it may hold a password.
        properties: Spark properties besides, a line each; they win over all others.
    """

    model_config = SettingsConfigDict(env_prefix="LAKEHOUSE_CLUSTER_", env_ignore_empty=True)

    master: str
    storage: str
    catalog: SecretStr
    properties: Path = PROJECT / "deploy" / "cluster" / "spark-defaults.conf"

    @field_validator("storage")
    @classmethod
    def _address(cls, value: str) -> str:
        return str(Stored.at(value))


class Settings(BaseSettings):
    """Settings of one installation; each field is the environment variable `LAKEHOUSE_<FIELD>`.

    Attributes:
        home: The folder that holds all state.
        thrift_port: The engine's port for dbt and BI tools on the loopback address; by default
            10015, and one derived from the folder's name where `LAKEHOUSE_HOME` is set, so that
            two homes do not meet. `profiles.yml` works it out in the same way.
        driver_memory: The heap of the engine, as the JVM spells it.
        start_seconds: How long to wait for the engine.
        target: The dbt target; `local` and `cluster` have an engine here.
    """

    model_config = SettingsConfigDict(env_prefix="LAKEHOUSE_", env_ignore_empty=True)

    home: Path | None = None
    thrift_port: int | None = Field(default=None, ge=1024, le=65534)
    driver_memory: str = Field(default="3g", pattern=r"^[1-9][0-9]*[mg]$")
    start_seconds: int = Field(default=120, ge=1)
    target: str = "local"

    @cached_property
    def paths(self) -> Home:
        """The home's folders."""
        storage = Stored.at(self.cluster.storage) if self.cluster else None
        return Home(self.home or PROJECT / ".lakehouse", storage)

    @cached_property
    def cluster(self) -> Cluster | None:
        """The cluster of target `cluster`.

        Raises:
            ValidationError: It is not set, or has a value that it cannot have.
        """
        if self.target != "cluster":
            return None
        return Cluster()  # type: ignore[call-arg] # the environment has them

    @cached_property
    def port(self) -> int:
        """The Thrift port; Spark Connect listens on the next one."""
        if self.thrift_port is not None:
            return self.thrift_port
        if self.home is None:
            return DEFAULT_THRIFT_PORT
        digest = hashlib.md5(str(self.home).encode(), usedforsecurity=False).hexdigest()
        return 20000 + 2 * (int(digest[:8], 16) % 6000)


def load_settings(home: Path | None = None) -> Settings:
    """Reads the settings and makes them visible to the processes started from here.

    Args:
        home: The value of `--home`; it wins over `LAKEHOUSE_HOME`.

    Raises:
        LakehouseError: A setting has a value that it cannot have, the engine cannot work in a
            folder of this name, or the home is another environment's.
    """
    given = home or (Path(text) if (text := os.environ.get("LAKEHOUSE_HOME")) else None)
    if given is not None:
        try:
            folder = given.expanduser().absolute()
        except RuntimeError:  # of a user that there is not
            folder = None
        if folder is None or (folder.exists() and not folder.is_dir()):
            raise LakehouseError(
                f"{given} is no folder. Correct --home or LAKEHOUSE_HOME.", exit_code=2
            )
        os.environ["LAKEHOUSE_HOME"] = str(folder)
    try:
        settings = Settings()
        _ = settings.cluster
    except ValidationError as error:
        first = error.errors()[0]
        prefix = "LAKEHOUSE_CLUSTER_" if error.title == Cluster.__name__ else "LAKEHOUSE_"
        name = prefix + str(first["loc"][0]).upper()
        told = (
            f"Target cluster needs {name}. Set it, see docs/cluster.md."
            if first["type"] == "missing"
            else f"{name}={first['input']!s}: {first['msg']}. Correct or unset it."
        )
        raise LakehouseError(told, exit_code=2) from None
    if unfit := _UNFIT.search(str(settings.paths.root)):
        raise LakehouseError(
            f"{str(settings.paths.root)!a}: the engine cannot work in a folder with {unfit[0]!a} "
            "in its path. Choose another one with --home or LAKEHOUSE_HOME.",
            exit_code=2,
        )
    check_home(settings.home, settings.paths.root)
    return settings
