"""Lets a bare `dbt build` find the engine up, and keeps two builds of one home apart.

dbt loads modules named `dbt_*` as plugins. Its plugin interface is experimental, so this does
little, and everything works without it once `lakehouse up` has run.
"""

import os
from contextlib import ExitStack
from pathlib import Path

from dbt.flags import get_flags
from dbt.plugins.manager import dbtPlugin
from dbt_common.exceptions import DbtRuntimeError

# These read files only.
_WITHOUT_ENGINE = {"clean", "debug", "deps", "init", "list", "parse", "serve"}
_READS = {"compile", "generate", "freshness", "show", "test"}

# The right to build, held until the process ends or `build_claim.close()` gives it back.
build_claim = ExitStack()


class EnginePlugin(dbtPlugin):  # type: ignore[misc] # dbt ships no types
    """Starts the local engine before dbt's first connection."""

    def initialize(self) -> None:
        """Starts the engine of `LAKEHOUSE_HOME`, unless dbt needs none or another target is asked.

        Raises:
            DbtRuntimeError: The engine cannot be started, or another process builds; dbt prints the
                one line.
        """
        flags = get_flags()
        if self.project_name != "lakehouse" or flags.WHICH in _WITHOUT_ENGINE:
            return
        if os.environ.get("DBT_LINT"):  # the macros that ask the database answer constants then
            return
        # dbt imports this module for every command, and these take a second.
        from ingestion.lock import LockedError  # noqa: PLC0415
        from lakehouse.errors import LakehouseError  # noqa: PLC0415
        from lakehouse.local import only_build, start  # noqa: PLC0415
        from lakehouse.settings import load_settings  # noqa: PLC0415

        given = os.environ.get("LAKEHOUSE_HOME")
        if given and given != (plain := str(Path(given).expanduser().absolute())):
            raise DbtRuntimeError(
                f"LAKEHOUSE_HOME={given} is no plain absolute path, so profiles.yml cannot work "
                f"out the engine's port. Use: export LAKEHOUSE_HOME={plain}"
            )

        try:
            settings = load_settings()
            if (getattr(flags, "TARGET", None) or settings.target) == "local":
                start(settings)
                _end_in_order()
                if flags.WHICH not in _READS:
                    build_claim.enter_context(
                        only_build(settings, os.environ.get("LAKEHOUSE_PACE", ""))
                    )
        except (LakehouseError, LockedError) as error:
            raise DbtRuntimeError(str(error)) from None


def _end_in_order() -> None:
    """Lets Ctrl-C wait for the statements under way.

    dbt would cancel each on the connection on which its thread waits for it, and PyHive's clients
    cannot be shared: now and then the thread waits for ever.
    """
    from dbt.adapters.spark.impl import SparkAdapter  # noqa: PLC0415

    SparkAdapter.is_cancelable = classmethod(lambda _: False)


plugins = [EnginePlugin]
