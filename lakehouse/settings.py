"""What can be set from outside: environment variables that begin with `LAKEHOUSE_`.

Whose installation it is, dev's, test's or prod's, is said in `lakehouse.environment`.
"""

from __future__ import annotations

import hashlib
import os
import re
from functools import cached_property
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ingestion.home import Home
from lakehouse.environment import check_home
from lakehouse.errors import LakehouseError

# Derby takes what follows a `;` for an option, Spark a `,` and Java a `:` for the end of a folder,
# and ingestion's streams the brackets, `*` and `?` for patterns; the rest would need escaping.
_UNFIT = re.compile(r'[;,:*?\[\]{}"\\\x00-\x1f\x7f\ud800-\udfff]|\s$')
PROJECT = Path(__file__).resolve().parents[1]
DEFAULT_THRIFT_PORT = 10015


class Settings(BaseSettings):
    """Settings of one installation; each field is the environment variable `LAKEHOUSE_<FIELD>`.

    Attributes:
        home: The folder that holds all state.
        thrift_port: The engine's port for dbt and BI tools on the loopback address; by default
            10015, and one derived from the folder's name where `LAKEHOUSE_HOME` is set, so that
            two homes do not meet. `profiles.yml` works it out in the same way.
        driver_memory: The heap of the engine, as the JVM spells it.
        start_seconds: How long to wait for the engine.
        target: The dbt target; only `local` has an engine of its own.
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
        return Home(self.home or PROJECT / ".lakehouse")

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
    except ValidationError as error:
        first = error.errors()[0]
        name = "LAKEHOUSE_" + str(first["loc"][0]).upper()
        raise LakehouseError(
            f"{name}={first['input']!s}: {first['msg']}. Correct or unset it.", exit_code=2
        ) from None
    if unfit := _UNFIT.search(str(settings.paths.root)):
        raise LakehouseError(
            f"{str(settings.paths.root)!a}: the engine cannot work in a folder with {unfit[0]!a} "
            "in its path. Choose another one with --home or LAKEHOUSE_HOME.",
            exit_code=2,
        )
    check_home(settings.home, settings.paths.root)
    return settings
