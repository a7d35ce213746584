"""What is set for a target (targets.yml), and who may see what (access.yml)."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
TARGETS = HERE / "targets.yml"
ACCESS = HERE / "access.yml"
LAYERS = ("bronze", "silver", "snapshots", "gold_build", "gold", "audit", "files")
# The row of access.yml for the service principal that the job runs as.
PIPELINE = "pipeline"


class SettingError(Exception):
    """Something is not set, or not so that it could work; the message says what to do."""


@dataclass(frozen=True)
class Target:
    """What differs between the places where the project runs.

    Attributes:
        name: dev, test or prod.
        catalog: The catalog of Unity Catalog that holds all schemas and volumes.
        storage: The folder in cloud storage below which all data lie.
        credential: The storage credential that may read and write there.
        warehouse_id: The SQL warehouse on which dbt runs.
        run_as: The application id of the service principal that the job runs as.
        notify: The mail addresses that are told of a failed run.
        trigger: What starts a run: `schedule` (Quartz cron, UTC), `file_arrival` (seconds at
            least between two), `continuous`, or nothing.
        years: Of which years there may be history to take in.
        git_url: Where Databricks fetches the project from.
        git_provider: As the Jobs API spells it.
    """

    name: str
    catalog: str
    storage: str
    credential: str
    warehouse_id: str
    run_as: str
    notify: list[str]
    trigger: dict[str, Any]
    years: list[int]
    git_url: str
    git_provider: str

    def __post_init__(self) -> None:
        """Refuses what would end as another statement, or another job, than was meant.

        Raises:
            SettingError: A name is none that can stand in SQL as it is, or the trigger is unknown.
        """
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.catalog):
            raise SettingError(
                f"targets.yml: {self.name}: catalog {self.catalog!r} is no plain name. Use lower "
                "case letters, digits and underscores."
            )
        if (
            self.trigger.keys() - {"schedule", "file_arrival", "continuous"}
            or len(self.trigger) > 1
        ):
            raise SettingError(
                f"targets.yml: {self.name}: trigger {self.trigger} is unknown. Give one of "
                "schedule, file_arrival and continuous, or {}."
            )
        for name in ("storage", "credential", "run_as"):
            if re.search(r"['`\\\s]", getattr(self, name)):
                raise SettingError(
                    f"targets.yml: {self.name}: {name} has a quote, a backslash or a space in it. "
                    "Give it as Databricks shows it."
                )

    def check_filled(self, *names: str) -> None:
        """Refuses to go on where something is empty that is needed now.

        Raises:
            SettingError: One of these is empty.
        """
        for name in names:
            if not getattr(self, name):
                where = "git" if name.startswith("git_") else f"targets: {self.name}"
                raise SettingError(
                    f"{name.removeprefix('git_')} is empty. Fill it in, in "
                    f"{TARGETS.relative_to(PROJECT)} under {where}."
                )


def read_target(name: str, path: Path = TARGETS) -> Target:
    """Reads a target from targets.yml.

    Raises:
        SettingError: There is none of that name, or it has other fields than a target has.
    """
    written = yaml.safe_load(path.read_text())
    if name not in written["targets"]:
        raise SettingError(
            f"There is no target {name}. Choose from {', '.join(written['targets'])}."
        )
    known = written["targets"][name] | {f"git_{key}": of for key, of in written["git"].items()}
    if wrong := known.keys() ^ ({field.name for field in fields(Target)} - {"name"}):
        raise SettingError(f"targets.yml: {name}: {', '.join(sorted(wrong))}: missing or unknown.")
    return Target(name=name, **known)


def read_access(path: Path = ACCESS) -> dict[str, dict[str, str]]:
    """Who may see what: by group the layers that it sees, each `all`, `masked` or `write`.

    Raises:
        SettingError: A layer or a word is unknown, or somebody else than the pipeline writes.
    """
    access: dict[str, dict[str, str]] = yaml.safe_load(path.read_text())
    for group, layers in access.items():
        words = {"write"} if group == PIPELINE else {"all", "masked"}
        for layer, word in layers.items():
            if layer not in LAYERS or word not in words or (layer, word) == ("files", "masked"):
                raise SettingError(
                    f"access.yml: {group}: {layer}: {word} cannot be. Layers are "
                    f"{', '.join(LAYERS)}; a group sees `all` or `masked`, the pipeline writes."
                )
    return access
