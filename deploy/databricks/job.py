"""The job `ingest-process-pipeline`, defined once: for the bundle and for deploy.py.

ingest-data --> ingest-history (a year after the other) --> build-<domain>, side by side --> govern
                                                                                 docs, report <-┘

The code comes from Git, at the commit that is deployed: a dbt task takes it from nowhere else, and
so what was tested and what runs in production are the same commit.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from databricks.bundles.core import Bundle, Resources
from databricks.bundles.jobs import Job
from targets import HERE, PIPELINE, PROJECT, SettingError, Target, read_access, read_target

JOB_KEY = "ingest-process-pipeline"
# Python 3.12 and what comes with it: pyspark, pandas, pyarrow.
_SERVERLESS = "4"
# What ingestion imports besides; the versions are those of requirements.lock.
_INGESTION_IMPORTS = (
    "confluent-kafka",
    "psycopg",
    "psycopg-binary",
    "pydantic-settings",
    "python-dotenv",
    "pyyaml",
)
# What the pages are made with, besides.
_REPORT_IMPORTS = ("altair", "jinja2", "vl-convert-python")
# A run that takes longer is told of, and one that takes four times as long is ended.
_SLOW_SECONDS = 3600


def present_commit() -> str:
    """The commit that is checked out here: LAKEHOUSE_COMMIT, or what git says.

    Raises:
        SettingError: There is none.
    """
    if commit := os.environ.get("LAKEHOUSE_COMMIT"):
        return commit
    asked = subprocess.run(
        ["git", "-C", str(PROJECT), "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        raise SettingError("There is no commit to deploy here. Set LAKEHOUSE_COMMIT to its hash.")
    return asked.stdout.strip()


def domains() -> list[str]:
    """The domains of the project, as dbt_project.yml lists them."""
    return list(yaml.safe_load((PROJECT / "dbt_project.yml").read_text())["vars"]["domains"])


def locked(names: Iterable[str], lock: Path = PROJECT / "requirements.lock") -> list[str]:
    """These packages with the versions of a lock file, `name==version` each.

    Raises:
        SettingError: The lock file does not have one.
    """
    versions = dict(re.findall(r"^([a-z0-9.-]+)(?:\[.*?\])?==([^ ;\\]+)", lock.read_text(), re.M))
    if missing := [name for name in names if name not in versions]:
        raise SettingError(f"{lock.name} does not pin {', '.join(missing)}. Run: make lock")
    return [f"{name}=={versions[name]}" for name in names]


def dbt_packages() -> list[str]:
    """The packages of dbt, as the dependency group `databricks` pins them."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    group = project["dependency-groups"]["databricks"]
    return [line for line in group if line.startswith("dbt-")]


def settings_of(target: Target, commit: str) -> dict[str, Any]:
    """The job of a target, in the shape of the Jobs API and with its permissions.

    Raises:
        SettingError: The target lacks something.
    """
    target.check_filled("git_url", "git_provider", "warehouse_id", "run_as")
    environments = {
        "ingestion": locked(_INGESTION_IMPORTS),
        "report": locked([*_INGESTION_IMPORTS, *_REPORT_IMPORTS]),
        "dbt": [*dbt_packages(), *locked(["pyyaml"])],
    }
    settings = {
        "name": f"{JOB_KEY}-{target.name}",
        "description": "Takes in what has arrived, builds, tests and publishes each domain.",
        "tags": {"project": "lakehouse", "target": target.name},
        "parameters": [{"name": "years", "default": json.dumps(target.years)}],
        "git_source": {
            "git_url": target.git_url,
            "git_provider": target.git_provider,
            "git_commit": commit,
        },
        "environments": [
            {
                "environment_key": key,
                "spec": {"environment_version": _SERVERLESS, "dependencies": dependencies},
            }
            for key, dependencies in environments.items()
        ],
        "tasks": _tasks(target),
        "max_concurrent_runs": 1,
        "queue": {"enabled": True},
        "timeout_seconds": 4 * _SLOW_SECONDS,
        "health": {
            "rules": [
                {"metric": "RUN_DURATION_SECONDS", "op": "GREATER_THAN", "value": _SLOW_SECONDS}
            ]
        },
        "run_as": {"service_principal_name": target.run_as},
        "permissions": [
            {"group_name": group, "level": "CAN_MANAGE_RUN" if "audit" in layers else "CAN_VIEW"}
            for group, layers in read_access().items()
            if group != PIPELINE and "silver" in layers
        ],
    }
    if target.notify:
        settings["email_notifications"] = {
            "on_failure": target.notify,
            "on_duration_warning_threshold_exceeded": target.notify,
        }
    return settings | _trigger(target)


def _tasks(target: Target) -> list[dict[str, Any]]:
    on_catalog = ("--catalog", target.catalog)
    in_year = _python("ingest-year", "ingest.py", *on_catalog, "--year", "{{input}}")
    history = {"inputs": "{{job.parameters.years}}", "concurrency": 1, "task": in_year}
    tasks = [
        _python("ingest-data", "ingest.py", *on_catalog),
        # One ingestion at a time.
        _task("ingest-history", ["ingest-data"]) | {"for_each_task": history},
    ]
    # What came in is built even where a source has failed: a build reads closed loads only.
    for domain in domains():
        of = f"--select config.meta.domain:{domain}"
        build = f"dbt build --exclude-resource-type test --exclude-resource-type unit_test {of}"
        test = f"dbt test --exclude-resource-type unit_test {of}"
        tasks.append(_dbt(target, f"build-{domain}", build, test, after=["ingest-history"]))
        tasks[-1]["run_if"] = "ALL_DONE"
    builds = [f"build-{domain}" for domain in domains()]
    govern = _python("govern", "governance.py", target.name, "--part", "tables", "--apply")
    tasks.append(govern | _task("govern", builds) | {"environment_key": "dbt"})
    tasks[-1]["run_if"] = "ALL_DONE"
    # Last, and only when all before has come right: so a run of which anything failed has failed.
    before = [task["task_key"] for task in tasks]
    report = _python("report", "report.py", *on_catalog) | {"environment_key": "report"}
    return [
        *tasks,
        _dbt(target, "docs", "dbt docs generate", after=before),
        report | _task("report", before),
    ]


def _trigger(target: Target) -> dict[str, Any]:
    match target.trigger:
        case {"schedule": cron}:
            return {"schedule": {"quartz_cron_expression": cron, "timezone_id": "UTC"}}
        case {"file_arrival": seconds}:
            arrival = {
                "url": f"/Volumes/{target.catalog}/files/inbox/",
                "min_time_between_triggers_seconds": max(60, seconds),
            }
            return {"trigger": {"file_arrival": arrival}}
        case {"continuous": True}:
            return {"continuous": {"pause_status": "UNPAUSED"}}
    return {}


def _python(key: str, file: str, *parameters: str) -> dict[str, Any]:
    """A task that runs a file of this folder with the session that Databricks gives."""
    path = str((HERE / file).relative_to(PROJECT))
    work = {"python_file": path, "source": "GIT", "parameters": list(parameters)}
    return _task(key) | {"spark_python_task": work, "environment_key": "ingestion"}


def _dbt(target: Target, key: str, *commands: str, after: Iterable[str]) -> dict[str, Any]:
    """A task that runs commands of dbt; Databricks makes the profile for the warehouse."""
    work = {
        "commands": list(commands),
        "source": "GIT",
        "warehouse_id": target.warehouse_id,
        "catalog": target.catalog,
        "schema": "silver",
    }
    return _task(key, after) | {"dbt_task": work, "environment_key": "dbt"}


def _task(key: str, after: Iterable[str] = ()) -> dict[str, Any]:
    task: dict[str, Any] = {"task_key": key}
    if depends_on := [{"task_key": other} for other in after]:
        task["depends_on"] = depends_on
    return task


def load_resources(bundle: Bundle) -> Resources:
    """What the bundle asks for: the job of the target that is chosen."""
    resources = Resources()
    try:
        settings = settings_of(read_target(bundle.target), present_commit())
    except SettingError as error:
        resources.add_diagnostic_error(str(error))
    else:
        resources.add_job(JOB_KEY, Job.from_dict(settings))
    return resources
