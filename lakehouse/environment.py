"""The environment that this is, and who may write to production.

`LAKEHOUSE_ENVIRONMENT` is dev (the default), test or prod. Each has a home or a catalog of its own,
in which all schemas have the same names. dbt's plugin asks here too, on Databricks without what
`lakehouse.settings` imports.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from lakehouse.errors import LakehouseError

ENVIRONMENTS = ("dev", "test", "prod")
_TARGETS = Path(__file__).resolve().parents[1] / "deploy" / "databricks" / "targets.yml"


def environment() -> str:
    """The environment, by `LAKEHOUSE_ENVIRONMENT`.

    Raises:
        LakehouseError: There is none of that name.
    """
    name = os.environ.get("LAKEHOUSE_ENVIRONMENT") or "dev"
    if name not in ENVIRONMENTS:
        raise LakehouseError(
            f"LAKEHOUSE_ENVIRONMENT={name} is none of {', '.join(ENVIRONMENTS)}. Correct or unset "
            "it.",
            exit_code=2,
        )
    return name


def check_may_write(command: str) -> None:
    """Refuses to write to production unless somebody says so: a scheduler, or a person by hand.

    Args:
        command: What would write, as it is typed.

    Raises:
        LakehouseError: This is production, or its catalog, and `LAKEHOUSE_PROD` is not `yes`.
    """
    if (
        "prod" not in (environment(), _owner_of_catalog())
        or os.environ.get("LAKEHOUSE_PROD") == "yes"
    ):
        return
    raise LakehouseError(
        f"{command} would write to production. If that is meant, say so: LAKEHOUSE_PROD=yes "
        f"{command}; else set LAKEHOUSE_ENVIRONMENT, and a home or catalog, to another one.",
        exit_code=2,
    )


def check_home(home: Path | None, root: Path) -> None:
    """Refuses a home that is another environment's.

    Args:
        home: The folder that somebody has chosen; None: the default one, which is dev's.
        root: The folder of the home.

    Raises:
        LakehouseError: It is another environment's, or none is chosen outside dev.
    """
    name = environment()
    if home is None and name != "dev":
        raise LakehouseError(
            f"LAKEHOUSE_ENVIRONMENT={name} has a home of its own. Say which: LAKEHOUSE_HOME=DIR",
            exit_code=2,
        )
    mark = _mark_of(root)
    if mark.is_file() and (owner := mark.read_text(encoding="utf-8").strip()) != name:
        raise LakehouseError(
            f"{root} is the home of {owner}, and LAKEHOUSE_ENVIRONMENT is {name}. Set it to "
            f"{owner}, or choose another home; should {mark} be wrong, correct it.",
            exit_code=2,
        )


def mark_home(root: Path) -> None:
    """Writes down whose home this is, unless it is written."""
    if not _mark_of(root).exists():
        _mark_of(root).write_text(environment() + "\n", encoding="utf-8")


def _mark_of(root: Path) -> Path:
    return root / "environment"


def _owner_of_catalog() -> str | None:
    """The environment whose catalog on Databricks `DATABRICKS_CATALOG` names, in whatever case."""
    if catalog := os.environ.get("DATABRICKS_CATALOG"):
        targets = yaml.safe_load(_TARGETS.read_text(encoding="utf-8"))["targets"]
        found = (name for name, of in targets.items() if of["catalog"] == catalog.lower())
        return next(found, None)
    return None
