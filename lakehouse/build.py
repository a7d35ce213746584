"""dbt in this process, on the warm engine."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, Settings

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest


# A build of data runs the tests of data; the unit tests of models need none, and `make test` runs
# them.
BUILD = ("build", "--exclude-resource-type", "unit_test")
BUILD_UNTESTED = (*BUILD, "--exclude-resource-type", "test")

# How the macro `run_state` names its part of dbt's graph; the invocation's id follows.
_RUN_STATE = "lakehouse_run_state_"


class Dbt:
    """dbt with the project's files and the home's folders; it prints errors only.

    Args:
        settings: The installation.
        pace: `live` or `rest` where two builds share the work, as `lakehouse run --every` has it:
            each takes its own part of the models (see `dbt_lakehouse.EnginePlugin`); else empty.
        heard: Called with each message of dbt's log, also those that are not printed.
    """

    def __init__(
        self, settings: Settings, pace: str = "", heard: Callable[[str], None] | None = None
    ) -> None:
        self._settings = settings
        self._pace = pace
        self._heard = heard
        self._manifest: Manifest | None = None

    def parse(self) -> None:
        """Reads the project once for all calls that follow, which saves each of them a second.

        Raises:
            LakehouseError: The project cannot be read; dbt has printed why.
        """
        self._manifest = None  # dbt would give back the one that it is handed
        self._manifest = self._invoke("parse").result

    def models(self) -> list[Any]:
        """The models of the project, as `parse` has read it."""
        nodes = self._manifest.nodes.values() if self._manifest else ()
        return [node for node in nodes if node.unique_id.startswith("model.")]

    def __call__(self, *arguments: str) -> str:
        """Runs a command.

        Args:
            arguments: The command and its options, as on dbt's command line.

        Returns:
            What was done, in a line: how many nodes had which outcome.

        Raises:
            LakehouseError: The command failed, and dbt has printed why.
        """
        outcome = self._invoke(*arguments)
        results = getattr(outcome.result, "results", [])
        counts = Counter(str(result.status) for result in results)
        return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))

    def _invoke(self, *arguments: str) -> Any:
        # dbt takes a second to import, and most commands need none.
        from dbt.cli.main import dbtRunner  # noqa: PLC0415

        from dbt_lakehouse import build_claim  # noqa: PLC0415

        suffix = f"-{self._pace}" if self._pace else ""
        logs = self._settings.paths.logs / f"dbt{suffix}"
        target = self._settings.paths.root / f"target{suffix}"
        for path in (logs, target):
            path.mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("DBT_PROFILES_DIR", str(PROJECT))
        os.environ["LAKEHOUSE_PACE"] = self._pace
        errors: list[str] = []
        # The console's level would be the file's too.
        level = () if "--log-level-file" in arguments else ("--log-level-file", "debug")

        def hear(event: Any) -> None:
            if event.info.level == "error" and event.info.name != "MainStackTrace":
                errors.append(event.info.msg)
            if self._heard:
                self._heard(event.info.msg)

        try:
            outcome = dbtRunner(self._manifest, [hear]).invoke(
                [
                    *("--log-level", "none", *arguments, *level, "--project-dir", str(PROJECT)),
                    *("--target-path", str(target), "--log-path", str(logs)),
                ]
            )
        finally:
            build_claim.close()
            self._forget_runs()
        if isinstance(outcome.exception, (KeyboardInterrupt, SystemExit)):
            raise outcome.exception  # without `errors`: what broke off is none
        if errors:
            print("\n".join(errors), file=sys.stderr)
        if outcome.exception:
            raise LakehouseError(f"dbt {arguments[0]}: {outcome.exception}")
        if not outcome.success:
            raise LakehouseError(
                f"dbt {arguments[0]} failed; readers of gold see what they saw before. "
                f"The log is {logs / 'dbt.log'}"
            )
        return outcome

    def _forget_runs(self) -> None:
        """Takes out of the project what each run leaves in it: a loop has thousands a day."""
        graph = self._manifest.flat_graph if self._manifest else {}
        for key in [key for key in graph if key.startswith(_RUN_STATE)]:
            del graph[key]
