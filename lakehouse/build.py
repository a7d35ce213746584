"""dbt in this process, on the warm engine."""

from __future__ import annotations

import os
from collections import Counter

from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, Settings


def dbt(settings: Settings, *arguments: str) -> str:
    """Runs a dbt command with the project's files and the home's folders; dbt prints errors only.

    Args:
        settings: The installation.
        arguments: The command and its options, as on dbt's command line.

    Returns:
        What was done, in a line: how many nodes had which outcome.

    Raises:
        LakehouseError: The command failed; dbt has printed why.
        KeyboardInterrupt: The command was interrupted.
    """
    # dbt takes a second to import, and most commands need none.
    from dbt.cli.main import dbtRunner  # noqa: PLC0415

    from dbt_lakehouse import build_claim  # noqa: PLC0415

    logs = settings.paths.logs / "dbt"
    target = settings.paths.root / "target"
    for folder in (logs, target):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DBT_PROFILES_DIR", str(PROJECT))
    try:
        outcome = dbtRunner().invoke(
            [
                *("--quiet", *arguments, "--project-dir", str(PROJECT)),
                *("--target-path", str(target), "--log-path", str(logs)),
            ]
        )
    finally:
        build_claim.close()
    if isinstance(outcome.exception, KeyboardInterrupt):
        raise outcome.exception
    if outcome.exception:
        raise LakehouseError(f"dbt {arguments[0]}: {outcome.exception}")
    if not outcome.success:
        raise LakehouseError(
            f"dbt {arguments[0]} failed; readers of gold see what they saw before. "
            f"The log is {logs / 'dbt.log'}"
        )
    results = getattr(outcome.result, "results", [])
    counts = Counter(str(result.status) for result in results)
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
