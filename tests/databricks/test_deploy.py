"""The job on Databricks, against a workspace on this machine that checks each request."""

from __future__ import annotations

import copy
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from databricks.sdk.service import jobs

from tests.databricks.scripts import COMMIT, FOLDER, PROJECT, TARGET, deploy, job, targets
from tests.databricks.workspace_server import (
    OWNER,
    TOKEN,
    WorkspaceServer,
    misfits,
    serving,
    without_waiting,
)

CREATE = ("POST", "/api/2.2/jobs/create")
RESET = ("POST", "/api/2.2/jobs/reset")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceServer]:
    with serving(monkeypatch) as server:
        yield server


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return without_waiting(monkeypatch)


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts read a targets.yml in which everything is filled in."""
    known = {name: getattr(TARGET, name) for name in vars(TARGET) if not name.startswith("git_")}
    del known["name"]
    written = {"git": {"url": TARGET.git_url, "provider": "gitHub"}, "targets": {"test": known}}
    (tmp_path / "targets.yml").write_text(yaml.safe_dump(written))
    monkeypatch.setattr(
        deploy, "read_target", lambda name: targets.read_target(name, tmp_path / "targets.yml")
    )


def wanted(**changed: Any) -> dict[str, Any]:
    return job.settings_of(replace(TARGET, **changed), COMMIT)


def applied(server: WorkspaceServer, settings: dict[str, Any]) -> tuple[int, str]:
    return deploy.Deployment(server.url, settings).apply()


# The job itself.


@pytest.mark.parametrize(
    "trigger", [{}, {"schedule": "0 0 3 * * ?"}, {"file_arrival": 60}, {"continuous": True}]
)
def test_the_job_is_what_the_jobs_api_takes(trigger: dict[str, Any]) -> None:
    settings = wanted(trigger=trigger)
    del settings["permissions"]
    assert misfits(settings, jobs.JobSettings) == []
    assert jobs.JobSettings.from_dict(settings).as_dict() == settings  # nothing falls away
    started_by = {"schedule", "trigger", "continuous"} & settings.keys()
    assert started_by == ({*trigger} and {{"file_arrival": "trigger"}.get(*trigger, *trigger)})


def test_a_mistake_in_the_job_is_seen() -> None:
    settings = wanted()
    settings["tasks"][0]["environment"] = "ingestion"
    settings["max_concurrent_runs"] = "1"
    settings["tasks"][1]["for_each_task"]["task"]["run_if"] = "SOMETIMES"
    del settings["tasks"][2]["task_key"]
    del settings["permissions"]
    assert [fault.split(":")[0] for fault in misfits(settings, jobs.JobSettings)] == [
        ".tasks[0].environment is unknown",
        ".tasks[1].for_each_task.task.run_if",
        ".tasks[2].task_key is missing",
        ".max_concurrent_runs",
    ]


def test_the_domains_are_built_side_by_side_between_ingestion_and_docs() -> None:
    tasks = {task["task_key"]: task for task in wanted()["tasks"]}
    before = {
        key: {of["task_key"] for of in task.get("depends_on", [])} for key, task in tasks.items()
    }
    assert before == {
        "ingest-data": set(),
        "ingest-history": {"ingest-data"},
        "build-wearables": {"ingest-history"},
        "build-network": {"ingest-history"},
        "build-retail": {"ingest-history"},
        "govern": {"build-wearables", "build-network", "build-retail"},
        "docs": before["govern"] | {"ingest-data", "ingest-history", "govern"},
        "report": before["docs"],
    }
    assert tasks["build-retail"]["dbt_task"]["commands"] == [
        "dbt build --exclude-resource-type test --exclude-resource-type unit_test "
        "--select config.meta.domain:retail",
        "dbt test --exclude-resource-type unit_test --select config.meta.domain:retail",
    ]
    # A source that fails holds up no build, and no domain another; the run has failed all the same.
    assert {key for key, task in tasks.items() if task.get("run_if") == "ALL_DONE"} == {
        *before["govern"],
        "govern",
    }


def test_each_year_is_taken_in_by_itself() -> None:
    settings = wanted(years=[2024, 2025])
    [each] = [task["for_each_task"] for task in settings["tasks"] if "for_each_task" in task]
    assert (each["inputs"], each["concurrency"]) == ("{{job.parameters.years}}", 1)
    assert each["task"]["spark_python_task"]["parameters"][-2:] == ["--year", "{{input}}"]
    [years] = [one["default"] for one in settings["parameters"] if one["name"] == "years"]
    assert json.loads(years) == [2024, 2025]


def test_what_the_tasks_run_is_there_and_every_package_is_pinned() -> None:
    settings = wanted()
    tasks = [*settings["tasks"]]
    tasks += [task["for_each_task"]["task"] for task in tasks if "for_each_task" in task]
    files = {
        task["spark_python_task"]["python_file"] for task in tasks if "spark_python_task" in task
    }
    names = {"ingest.py", "governance.py", "report.py"}
    assert files == {f"deploy/databricks/{name}" for name in names}
    assert [file for file in files if not (PROJECT / file).is_file()] == []
    environments = {one["environment_key"]: one["spec"] for one in settings["environments"]}
    assert {task["environment_key"] for task in tasks if "for_each_task" not in task} == {
        *environments
    }
    packages = [name for spec in environments.values() for name in spec["dependencies"]]
    assert [name for name in packages if name.count("==") != 1] == []
    assert "dbt-databricks==1.12.7" in packages


def test_the_bundle_has_the_same_job(tmp_path: Path) -> None:
    """As the command line of Databricks asks for it."""
    asked = yaml.safe_load((FOLDER / "databricks.yml").read_text())
    asked["bundle"]["target"] = "test"
    code = (
        "import json, sys, targets, job\n"
        "of = json.loads(sys.stdin.read())\n"
        "job.read_target = lambda name: targets.Target(**of)\n"
        "from databricks.bundles.build import main\n"
        "sys.exit(main(sys.argv))\n"
    )
    (tmp_path / "in.json").write_text(json.dumps(asked))
    options = {"phase": "load_resources", "input": tmp_path / "in.json"}
    options |= {name: tmp_path / name for name in ("output", "diagnostics", "locations")}
    subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            *[str(of) for k, v in options.items() for of in (f"--{k}", v)],
        ],
        input=json.dumps(vars(TARGET)),
        text=True,
        cwd=FOLDER,
        env=os.environ | {"LAKEHOUSE_COMMIT": COMMIT},
        check=True,
    )
    answer = json.loads((tmp_path / "output").read_text())
    assert answer["resources"]["jobs"] == {"ingest-process-pipeline": wanted()}
    assert set(asked["targets"]) == set(
        yaml.safe_load((FOLDER / "targets.yml").read_text())["targets"]
    )


# Its way into the workspace.


def test_it_is_created_once_and_then_left_alone(server: WorkspaceServer) -> None:
    settings = wanted()
    job_id, done = applied(server, settings)
    assert done == "created"
    assert server.jobs[job_id] == {k: of for k, of in settings.items() if k != "permissions"}
    written = server.written.copy()
    assert applied(server, wanted()) == (job_id, "unchanged")
    assert deploy.Deployment(server.url, wanted()).difference() == ""
    assert server.written == written
    assert written[CREATE] == 1


def test_what_was_changed_by_hand_is_told_and_put_right(server: WorkspaceServer) -> None:
    job_id, _ = applied(server, wanted())
    changed = server.jobs[job_id]
    changed["tasks"][0]["spark_python_task"]["parameters"] = ["--catalog", "another"]
    changed["trigger"] = {"file_arrival": {"url": "/Volumes/elsewhere/"}}
    changed["run_as"] = {"service_principal_name": "somebody"}
    written = server.written.copy()
    told = deploy.Deployment(server.url, wanted()).difference().splitlines()
    assert [line.replace(" ", "") for line in told if line[:1] in "+-"][2:] == [
        "-service_principal_name:somebody",
        f"+service_principal_name:{TARGET.run_as}",
        "--another",
        "+-lakehouse_test",
        "-trigger:",
        "-file_arrival:",
        "-url:/Volumes/elsewhere/",
    ]
    assert server.written == written  # to tell changes nothing
    assert applied(server, wanted()) == (job_id, "updated")
    assert deploy.Deployment(server.url, wanted()).difference() == ""
    assert len(server.jobs) == 1


def test_rights_given_by_hand_are_taken_back_and_the_owner_stays(server: WorkspaceServer) -> None:
    job_id, _ = applied(server, wanted())
    as_wanted = sorted(server.permissions[job_id])
    assert as_wanted == [
        ("group_name", "lakehouse-analysts", "CAN_VIEW"),
        ("group_name", "lakehouse-engineers", "CAN_MANAGE_RUN"),
        ("user_name", OWNER, "IS_OWNER"),
    ]
    server.permissions[job_id].append(("group_name", "users", "CAN_MANAGE"))
    assert "group_name: users" in deploy.Deployment(server.url, wanted()).difference()
    assert applied(server, wanted()) == (job_id, "updated")
    assert sorted(server.permissions[job_id]) == as_wanted


def test_jobs_of_another_name_are_left_alone(server: WorkspaceServer) -> None:
    other = server.add_job({"name": wanted()["name"].upper()})  # the list knows no case
    job_id, done = applied(server, wanted())
    assert (done, other in server.jobs, job_id != other) == ("created", True, True)
    assert applied(server, wanted()) == (job_id, "unchanged")


def test_two_jobs_of_one_name_are_refused(server: WorkspaceServer) -> None:
    for _ in range(2):
        server.add_job({"name": wanted()["name"]})
    with pytest.raises(deploy.WorkspaceError, match=r"1000, 1001\. Delete all but one"):
        applied(server, wanted())
    assert not server.written


def test_a_bundles_job_is_refused(server: WorkspaceServer) -> None:
    settings = {"name": wanted()["name"], "deployment": {"kind": "BUNDLE"}}
    server.add_job(settings)
    with pytest.raises(deploy.WorkspaceError, match="is a bundle's"):
        applied(server, wanted())
    assert not server.written


# When the workspace or the network fails.


def test_a_rate_limit_is_waited_for(server: WorkspaceServer, slept: list[float]) -> None:
    server.faults = {("GET", "/api/2.2/jobs/list"): [429, 429, 503], CREATE: [429, 429]}
    _, done = applied(server, wanted())
    assert (done, len(server.jobs)) == ("created", 1)
    assert len(slept) == 5
    assert all(7 <= seconds <= 8 for seconds in slept)  # as Retry-After says, and up to a second


@pytest.mark.parametrize("fault", ["lost before", "lost after"])
def test_a_lost_answer_makes_no_second_job(server: WorkspaceServer, fault: str) -> None:
    server.faults = {CREATE: [fault]}
    job_id, done = applied(server, wanted())
    assert (done, [*server.jobs]) == ("created", [job_id])
    assert len(server.permissions[job_id]) == 3
    assert server.written[CREATE] == (1 if fault == "lost after" else 2)


def test_a_lost_answer_to_an_update_is_asked_for_again(server: WorkspaceServer) -> None:
    job_id, _ = applied(server, wanted())
    server.faults = {RESET: ["lost after", "lost before"]}
    assert applied(server, wanted(years=[2026])) == (job_id, "updated")
    assert applied(server, wanted(years=[2026])) == (job_id, "unchanged")


def test_one_that_never_answers_is_given_up(server: WorkspaceServer) -> None:
    server.faults = {CREATE: ["lost before"] * 100}
    with pytest.raises(deploy.WorkspaceError, match="could not be created in 5 attempts"):
        applied(server, wanted())
    assert server.written[CREATE] == 5


# The script.


def test_dry_run_prints_the_whole_job_and_writes_nothing(
    server: WorkspaceServer, filled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deploy.main([server.url, "--target", "test", "--dry-run"]) == 0
    told = capsys.readouterr().out
    lines = [line[1:] for line in told.splitlines()[3:]]
    assert yaml.safe_load("\n".join(lines))["git_source"]["git_commit"] == COMMIT
    assert not server.written
    assert deploy.main([server.url, "--target", "test"]) == 0
    assert capsys.readouterr().out == "Job 1000: created.\n"
    assert deploy.main([server.url, "--target", "test", "--dry-run"]) == 0
    assert capsys.readouterr().out == "Nothing would change.\n"
    another = "f" * 40
    assert deploy.main([server.url, "--target", "test", "--dry-run", "--commit", another]) == 0
    changed = [line for line in capsys.readouterr().out.splitlines() if line[:1] in "+-"]
    assert changed[2:] == [f"-  git_commit: {COMMIT}", f"+  git_commit: {another}"]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (401, "The workspace refuses: no ***. Check the rights of DATABRICKS_TOKEN."),
        (403, "The workspace refuses: no ***. Check the rights of DATABRICKS_TOKEN."),
        (500, "The workspace answers INTERNAL_ERROR: no ***. Try again."),
    ],
)
def test_the_token_leaks_neither_into_errors_nor_into_logs(  # noqa: PLR0917 - fixtures
    server: WorkspaceServer,
    filled: None,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    status: int,
    told: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("DATABRICKS_DEBUG_HEADERS", "true")
    monkeypatch.setenv("DATABRICKS_DEBUG_TRUNCATE_BYTES", "10000")
    assert deploy.main([server.url, "--target", "test"]) == 0  # a whole run, logged
    assert "jobs/create" in caplog.text
    assert TOKEN not in caplog.text
    server.echoes = True
    server.faults = {("GET", "/api/2.2/jobs/list"): [status]}
    capsys.readouterr()
    caplog.set_level(logging.WARNING)
    assert deploy.main([server.url, "--target", "test"]) == 1
    assert capsys.readouterr().err == f"{told}\n"


def test_nor_does_it_from_a_job_that_has_it(
    server: WorkspaceServer, filled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    server.add_job(wanted() | {"description": f"with {TOKEN}"})
    del server.jobs[1000]["permissions"]
    assert deploy.main([server.url, "--target", "test", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "with ***" in told
    assert TOKEN not in told


def test_nor_does_it_follow_to_another_host(server: WorkspaceServer, filled: None) -> None:
    other = WorkspaceServer()
    server.redirects_to = other.url
    deploy.main([server.url, "--target", "test"])
    other.shutdown()
    other.server_close()
    assert server.tokens_seen > 0
    assert other.asked
    assert other.tokens_seen == 0


def test_it_does_not_travel_in_the_clear(
    filled: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", TOKEN)
    monkeypatch.setenv("LAKEHOUSE_COMMIT", COMMIT)
    assert deploy.main(["http://workspace.example.com", "--target", "test"]) == 2
    assert deploy.main([f"https://me:{TOKEN}@workspace.example.com", "--target", "test"]) == 2
    monkeypatch.delenv("DATABRICKS_TOKEN")
    assert deploy.main(["https://workspace.example.com", "--target", "test"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "http://workspace.example.com would see the token. Use https.",
        "The address has a secret in it. Give it without, as https://NAME.",
        "There is no token. Set DATABRICKS_TOKEN, in the environment alone.",
    ]


def test_where_nothing_answers_it_says_so_at_once(
    server: WorkspaceServer, filled: None, capsys: pytest.CaptureFixture[str]
) -> None:
    url = server.url
    server.shutdown()
    server.server_close()
    assert deploy.main([url, "--target", "test"]) == 1
    assert capsys.readouterr().err == f"Nothing answers at {url}. Check the address.\n"


# What is set.


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"catalog": "a; drop"}, "is no plain name"),
        ({"trigger": {"sometimes": 1}}, "is unknown. Give one of"),
        ({"trigger": {"schedule": "x", "continuous": True}}, "is unknown. Give one of"),
        ({"storage": "s3://b/'x"}, "storage has a quote"),
        ({"run_as": "a`b"}, "run_as has a quote"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(targets.SettingError, match=told):
        replace(TARGET, **changed)


def test_what_is_empty_is_named_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(targets.SettingError) as error:
        job.settings_of(replace(TARGET, warehouse_id=""), COMMIT)
    assert str(error.value) == (
        "warehouse_id is empty. Fill it in, in deploy/databricks/targets.yml under targets: test."
    )


def test_a_target_with_other_fields_is_refused(tmp_path: Path) -> None:
    written = yaml.safe_load((FOLDER / "targets.yml").read_text())
    for name in written["targets"]:
        assert targets.read_target(name).name == name
    wrong = copy.deepcopy(written)
    wrong["targets"]["dev"]["catalogue"] = wrong["targets"]["dev"].pop("catalog")
    (tmp_path / "targets.yml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(targets.SettingError, match="catalog, catalogue: missing or unknown"):
        targets.read_target("dev", tmp_path / "targets.yml")
    with pytest.raises(targets.SettingError, match="Choose from dev, test, prod"):
        targets.read_target("staging")
