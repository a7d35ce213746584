"""Lets a bare `dbt build` find the engine up: dbt loads modules named `dbt_*` as plugins.

dbt's plugin interface is experimental, so this does one small thing, and everything works without
it once `lakehouse up` has run.
"""

import os

from dbt.flags import get_flags
from dbt.plugins.manager import dbtPlugin
from dbt_common.exceptions import DbtRuntimeError

# These read files only.
_WITHOUT_ENGINE = {"clean", "debug", "deps", "init", "list", "parse"}


class EnginePlugin(dbtPlugin):  # type: ignore[misc] # dbt ships no types
    """Starts the local engine before dbt's first connection."""

    def initialize(self) -> None:
        """Starts the engine of `LAKEHOUSE_HOME`, unless dbt needs none or another target is asked.

        Raises:
            DbtRuntimeError: The engine cannot be started; dbt prints its one line.
        """
        flags = get_flags()
        if self.project_name != "lakehouse" or flags.WHICH in _WITHOUT_ENGINE:
            return
        if os.environ.get("DBT_LINT"):  # the macros that ask the database answer constants then
            return
        from lakehouse.errors import LakehouseError  # noqa: PLC0415 - dbt imports this module always
        from lakehouse.local import start  # noqa: PLC0415
        from lakehouse.settings import load_settings  # noqa: PLC0415

        try:
            settings = load_settings()
            if (getattr(flags, "TARGET", None) or settings.target) == "local":
                start(settings)
        except LakehouseError as error:
            raise DbtRuntimeError(str(error)) from None


plugins = [EnginePlugin]
