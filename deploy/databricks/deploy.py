"""Creates or updates the job of a target: deploy.py HOST --target test [--dry-run].

The token is that of DATABRICKS_TOKEN. What is there already is left alone, so a second run changes
nothing.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from typing import Any

import yaml
from databricks.sdk.service.jobs import (
    Job,
    JobAccessControlRequest,
    JobDeploymentKind,
    JobPermissionLevel,
    JobSettings,
)
from job import present_commit, settings_of
from targets import read_target
from workspace import WorkspaceError, connect, exit_code, say

# How often a job is created whose creation was not answered.
_ATTEMPTS = 5
# What the workspace adds of itself, and what is the same as nothing.
_DEFAULTS = {
    "edit_mode": "EDITABLE",
    "format": "MULTI_TASK",
    "max_concurrent_runs": 1,
    "max_retries": 0,
    "pause_status": "UNPAUSED",
    "performance_target": "PERFORMANCE_OPTIMIZED",
    "run_if": "ALL_SUCCESS",
    "timeout_seconds": 0,
}
_PRINCIPALS = ("group_name", "service_principal_name", "user_name")


class Deployment:
    """A job on its way into a workspace.

    Args:
        host: The address of the workspace.
        settings: The job, as `job.settings_of` gives it.

    Raises:
        SettingError, WorkspaceError: See `workspace.connect`.
    """

    def __init__(self, host: str, settings: dict[str, Any]) -> None:
        self._workspace = connect(host)
        # Not tried again: that a request was not answered does not say that nothing was done.
        self._once = connect(host, patience=1)
        self._wanted = settings
        self._name = settings["name"]
        self._settings = JobSettings.from_dict(
            {key: of for key, of in settings.items() if key != "permissions"}
        )

    def difference(self) -> str:
        """What `apply` would change, as a text of differences; empty where nothing would."""
        job = self._find()
        there = self._described(job) if job else {}
        before, after = (
            yaml.safe_dump(_plain(of), sort_keys=True).splitlines() if of else []
            for of in (there, self._wanted)
        )
        return "\n".join(
            difflib.unified_diff(before, after, "in the workspace", "here", lineterm="")
        )

    def apply(self) -> tuple[int, str]:
        """Makes the job what it should be.

        Returns:
            The job's id, and what was done: created, updated or unchanged.

        Raises:
            WorkspaceError: There are two jobs of this name, or it is another's.
        """
        job = self._find()
        if job is None:
            job_id, done = self._create(), "created"
            self._permit(job_id)
            return job_id, done
        if _plain(self._described(job)) == _plain(self._wanted):
            return job.job_id, "unchanged"
        self._workspace.jobs.reset(job.job_id, self._settings)
        self._permit(job.job_id)
        return job.job_id, "updated"

    def _find(self) -> Job | None:
        named = [
            job.job_id
            for job in self._workspace.jobs.list(name=self._name)
            if job.settings and job.settings.name == self._name
        ]
        if len(named) > 1:
            raise WorkspaceError(
                f"There are {len(named)} jobs named {self._name}: {', '.join(map(str, named))}. "
                "Delete all but one."
            )
        if not named:
            return None
        job = self._workspace.jobs.get(named[0])
        deployment = job.settings.deployment if job.settings else None
        if deployment and deployment.kind == JobDeploymentKind.BUNDLE:
            raise WorkspaceError(
                f"The job {self._name} is a bundle's. Use `databricks bundle deploy`, or destroy "
                "the bundle first."
            )
        return job

    def _create(self) -> int:
        fields = {name: of for name, of in vars(self._settings).items() if of}
        for _ in range(_ATTEMPTS):
            try:
                return int(self._once.jobs.create(**fields).job_id)
            except TimeoutError:
                if job := self._find():
                    return int(job.job_id)
        raise WorkspaceError(
            f"The job {self._name} could not be created in {_ATTEMPTS} attempts: each time the "
            "connection was lost or the workspace was too busy. Try again later."
        )

    def _permissions(self, job_id: int) -> list[dict[str, str]]:
        """Who may do what with the job, apart from what is inherited."""
        answer = self._workspace.jobs.get_permissions(str(job_id))
        return [
            {
                **{kind: of for kind in _PRINCIPALS if (of := getattr(entry, kind))},
                "level": permission.permission_level.value,
            }
            for entry in answer.access_control_list or []
            for permission in entry.all_permissions or []
            if not permission.inherited and permission.permission_level
        ]

    def _permit(self, job_id: int) -> None:
        there = self._permissions(job_id)
        wanted = self._wanted["permissions"] + [of for of in there if of["level"] == "IS_OWNER"]
        if _plain(there) != _plain(wanted):
            self._workspace.jobs.set_permissions(
                str(job_id),
                access_control_list=[
                    JobAccessControlRequest(
                        **{kind: of for kind, of in entry.items() if kind != "level"},
                        permission_level=JobPermissionLevel(entry["level"]),
                    )
                    for entry in wanted
                ],
            )

    def _described(self, job: Job) -> dict[str, Any]:
        """A job of the workspace, in the shape of what is wanted; its owner is left out."""
        permissions = self._permissions(job.job_id)
        settings = job.settings.as_dict()
        # Of whom it runs as the workspace speaks outside the settings, too.
        if job.run_as_user_name and "run_as" not in settings:
            settings["run_as"] = {"service_principal_name": job.run_as_user_name}
        return settings | {"permissions": [of for of in permissions if of["level"] != "IS_OWNER"]}


def _plain(value: Any) -> Any:
    """A value without what is the same as nothing, and lists of records in one order."""
    if isinstance(value, dict):
        plain = {key: _plain(of) for key, of in value.items() if _DEFAULTS.get(key) != of}
        return {key: of for key, of in plain.items() if of not in (None, {}, [], "")}
    if isinstance(value, list):
        plain_list = [_plain(of) for of in value]
        if all(isinstance(of, dict) for of in plain_list):
            plain_list.sort(key=lambda of: json.dumps(of, sort_keys=True))
        return plain_list
    return value


def main(arguments: list[str]) -> int:
    """Runs the script; returns its exit code: 0 done, 1 failed, 2 wrong use."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("host", metavar="HOST", help="the workspace, https://...")
    parser.add_argument("--target", default="dev", help="of targets.yml; by default dev")
    parser.add_argument("--commit", help="what the job runs; by default what is checked out")
    parser.add_argument("--dry-run", action="store_true", help="only print the difference")
    given = parser.parse_args(arguments)

    def work() -> None:
        commit = given.commit or present_commit()
        deployment = Deployment(given.host, settings_of(read_target(given.target), commit))
        if given.dry_run:
            say(deployment.difference() or "Nothing would change.")
        else:
            job_id, done = deployment.apply()
            say(f"Job {job_id}: {done}.")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
