"""Lets a bare `dbt build` find the engine up, and keeps two builds of one home apart.

dbt loads modules named `dbt_*` as plugins. Its plugin interface is experimental, so this does
little, and everything works without it once `lakehouse up` has run.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import click
from dbt.flags import get_flags
from dbt.plugins.manager import dbtPlugin
from dbt_common.exceptions import DbtRuntimeError

# These read files only.
_WITHOUT_ENGINE = {"clean", "debug", "deps", "init", "list", "ls", "parse", "serve"}
_READS = {"compile", "generate", "freshness", "show"}
# These have no on-run-start, where every other command hears of what it reads and no build has made
# (see `refuse_what_is_not_built`), or can do nothing at all before the first build.
_READS_BUILT = {"compile", "generate", "show", "snapshot"}
# A run that reads less than all would be remembered as one that had read all.
_READS_LESS = ("empty", "sample", "event_time_start", "event_time_end")
_NO = ("", "0", "false", "no", "f", "n", "off")
# Where nothing has come, `lakehouse run` alone would build nothing.
_BUILD = "Run: dbt build, or once data has come (lakehouse land, lakehouse generate): lakehouse run"

# The right to build, held until the process ends or `build_claim.close()` gives it back.
build_claim = ExitStack()


class EnginePlugin(dbtPlugin):  # type: ignore[misc] # dbt ships no types
    """Starts the local engine before dbt's first connection."""

    def initialize(self) -> None:
        """Starts the engine of `LAKEHOUSE_HOME`, unless dbt needs none or another target is asked.

        Raises:
            DbtRuntimeError: The command would change what it must not, or reads what is not built;
                the engine cannot be started, or another process builds. dbt prints the one line.
        """
        flags = get_flags()
        if self.project_name != "lakehouse" or flags.WHICH in _WITHOUT_ENGINE:
            return
        _refuse_partial_work(flags)
        _refuse_prod_by_hand(flags)
        if os.environ.get("DBT_LINT"):  # the macros that ask the database answer constants then
            return
        # As the profile has it, which in a job on Databricks is not ours, nor is its target's name.
        target: str = click.get_current_context().obj["profile"].target_name
        if target not in ("local", "cluster"):  # whose environment has nothing of the engine
            return
        os.environ["LAKEHOUSE_TARGET"] = target  # by `--target` it is known here alone
        # dbt imports this module for every command, and these take a second.
        from ingestion.lock import LockedError  # noqa: PLC0415
        from lakehouse.engine.local import is_begun, only_build, start  # noqa: PLC0415
        from lakehouse.errors import LakehouseError, of_system  # noqa: PLC0415
        from lakehouse.settings import load_settings  # noqa: PLC0415

        given = os.environ.get("LAKEHOUSE_HOME")
        if given and given != (plain := str(Path(given).expanduser().absolute())):
            raise DbtRuntimeError(
                f"LAKEHOUSE_HOME={given} is no plain absolute path, so profiles.yml cannot work "
                f"out the engine's port. Use: export LAKEHOUSE_HOME={plain}"
            )

        try:
            settings = load_settings()
            is_inline = getattr(flags, "INLINE", None)
            if flags.WHICH in _READS_BUILT and not is_inline and not is_begun(settings):
                raise LakehouseError(f"Nothing is built yet in {settings.paths.root}. {_BUILD}")
            start(settings)
            _tell_reasons_alone()
            _end_in_order()
            if flags.WHICH not in _READS:
                build_claim.enter_context(only_build(settings))
        except (LakehouseError, LockedError) as error:
            raise DbtRuntimeError(str(error)) from None
        except OSError as error:
            raise DbtRuntimeError(of_system(error)) from None


def _refuse_prod_by_hand(flags: Any) -> None:
    """Raises where a command would write to production, and nobody has said that it may."""
    from lakehouse.environment import check_may_write, environment  # noqa: PLC0415
    from lakehouse.errors import LakehouseError  # noqa: PLC0415

    try:
        environment()
        if flags.WHICH not in _READS:
            check_may_write(f"dbt {flags.WHICH}")
    except LakehouseError as error:
        raise DbtRuntimeError(str(error)) from None


def _refuse_partial_work(flags: Any) -> None:
    """Raises where a command that writes would not do the work that it stands for."""
    if flags.WHICH == "clone":
        raise DbtRuntimeError(
            "dbt clone puts tables of another state in the place of these. Build them: dbt build"
        )
    asked = _asked(flags)
    if asked["which"] in _READS:
        return
    if (asked.get("vars") or {}).get("as_of"):
        raise DbtRuntimeError(
            "as_of: the report time of what is kept is the data's. Ask for another with: "
            "dbt show, or dbt compile"
        )
    if asked["which"] == "test":  # it writes down that readers may see what is built, nothing else
        return
    for option in _READS_LESS:
        # A run that is repeated takes these from the environment, too.
        names = [f"{prefix}_{option.upper()}" for prefix in ("DBT", "DBT_ENGINE")]
        is_set = any(os.environ.get(name, "").lower() not in _NO for name in names)
        if asked.get(option) or is_set:
            raise DbtRuntimeError(
                f"--{option.replace('_', '-')} would leave tables without rows that have come: "
                f"{asked['which']} without it, and without DBT_{option.upper()}."
            )
    if os.environ.get("DBT_LINT"):
        raise DbtRuntimeError("DBT_LINT is for the linter, which asks no engine. unset DBT_LINT")


def _asked(flags: Any) -> dict[str, Any]:
    """The command and its options; of `retry`, those of the run that it repeats."""
    if flags.WHICH == "retry":
        project = click.get_current_context().obj["project"]
        folder = Path(project.project_root, flags.STATE or project.target_path)
        with suppress(OSError, ValueError, KeyError):  # dbt tells what is wrong with it
            repeated: dict[str, Any] = json.loads((folder / "run_results.json").read_text())["args"]
            return {"which": "retry"} | repeated
    return {name.lower(): value for name, value in vars(flags).items()}


@cache
def _tell_reasons_alone() -> None:
    """Has dbt print the engine's reasons without its plans and stacks, which dbt.log has."""
    from dbt.adapters.spark.connections import SparkConnectionManager  # noqa: PLC0415

    told_whole = SparkConnectionManager.exception_handler

    @contextmanager
    def exception_handler(manager: SparkConnectionManager, sql: str) -> Iterator[None]:
        try:
            with told_whole(manager, sql):
                yield
        except DbtRuntimeError as error:
            error.msg = reason(error.msg)
            raise

    SparkConnectionManager.exception_handler = exception_handler


def reason(message: str) -> str:
    """The reason in an error of the engine: what comes before its plan and its stack."""
    told: str = re.split(r"(?<=SQLSTATE: \w{5})|\n\s+at ", message, maxsplit=1)[0]
    if "[TABLE_OR_VIEW_NOT_FOUND]" in told:
        told += ". If it is a model's, it is not built yet. " + _BUILD
    return told


def _end_in_order() -> None:
    """Lets Ctrl-C wait for the statements under way.

    dbt would cancel each on the connection on which its thread waits for it, and PyHive's clients
    cannot be shared: now and then the thread waits for ever.
    """
    from dbt.adapters.spark.impl import SparkAdapter  # noqa: PLC0415

    SparkAdapter.is_cancelable = classmethod(lambda _: False)


plugins = [EnginePlugin]
