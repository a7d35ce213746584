"""What CI runs: make targets alone, the same in both places, and each of them there."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

from lakehouse.settings import PROJECT
from tests.integration import conftest

WORKFLOWS = PROJECT / ".github" / "workflows"
AZURE = PROJECT / "azure-pipelines.yml"
# The workflows by their occasion, as Azure's stages begin.
OCCASIONS = {"pull_request": "pull_request", "nightly": "nightly", "main": "main_"}
# What a target needs first is not asked for: it may not be there, and takes minutes.
READY = [of for name in (".venv", ".venv-databricks") for of in ("-o", f"{name}/.ready")]


def steps_of(value: Any) -> Iterator[dict[str, Any]]:
    """All steps below a piece of YAML, with the environments of what is around them."""
    if isinstance(value, dict):
        if "run" in value or "script" in value:
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for of in value:
            yield from steps_of(of)


def commands_of(value: Any) -> list[str]:
    return [step.get("run") or step["script"] for step in steps_of(value)]


def github() -> dict[str, list[str]]:
    read = {path.stem: yaml.safe_load(path.read_text()) for path in WORKFLOWS.glob("*.yml")}
    assert read.keys() == OCCASIONS.keys()
    return {occasion: commands_of(workflow["jobs"]) for occasion, workflow in read.items()}


def azure() -> dict[str, list[str]]:
    stages = yaml.safe_load(AZURE.read_text())["stages"]
    return {
        occasion: [
            command
            for stage in stages
            if stage["stage"].startswith(prefix)
            for command in commands_of(stage)
        ]
        for occasion, prefix in OCCASIONS.items()
    }


COMMANDS = sorted({command for of in (*github().values(), *azure().values()) for command in of})


def test_both_run_the_same() -> None:
    assert github() == azure()
    assert {occasion: len(commands) for occasion, commands in github().items()} == {
        "pull_request": 8,
        "nightly": 3,
        "main": 3,
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_a_make_target_that_is_there(command: str) -> None:
    # Nothing of the change itself, as a branch's name, gets into a shell.
    found = re.fullmatch(r'make ([a-z-]+)( [A-Z]+=(?:[a-z]+|"[a-z ]+"))?', command)
    assert found, f"{command}: CI calls make targets alone"
    words = re.findall(r'[^\s"]+="[^"]*"|\S+', command)
    dry = subprocess.run(
        ["make", "-n", *READY, *(word.replace('"', "") for word in words[1:])],
        cwd=PROJECT,
        env={**os.environ, "DATABRICKS_HOST": "https://workspace.example.com"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.strip()


def test_a_target_that_is_not_there_fails() -> None:
    dry = subprocess.run(
        ["make", "-n", *READY, "no-such-target"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert dry.returncode


def test_a_pull_request_gets_no_secret_and_may_change_nothing() -> None:
    for path in WORKFLOWS.glob("*.yml"):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        assert ("secrets." in path.read_text()) == (path.stem == "main")
        assert "pull_request_target" not in path.read_text()
    for stage in yaml.safe_load(AZURE.read_text())["stages"]:
        assert ("DATABRICKS_TOKEN" in str(stage)) == stage["stage"].startswith("main_")


def test_the_token_is_in_the_environment_of_the_steps_that_need_it_alone() -> None:
    workflow = yaml.safe_load((WORKFLOWS / "main.yml").read_text())
    for step in steps_of(workflow["jobs"]):
        assert step["env"].keys() == {"DATABRICKS_TOKEN"}
    for name, job in workflow["jobs"].items():
        assert job["environment"] == name  # whose rules ask for approval
        assert job["env"].keys() == {"DATABRICKS_HOST"}
    assert workflow["jobs"]["prod"]["needs"] == "test"
    stages = {stage["stage"]: stage for stage in yaml.safe_load(AZURE.read_text())["stages"]}
    assert stages["main_prod"]["dependsOn"] == "main_test"
    assert "succeeded()" in stages["main_prod"]["condition"]
    assert [stages["main_prod"]["jobs"][0][key] for key in ("deployment", "environment")] == [
        "prod",
        "lakehouse-prod",
    ]


def test_prod_gets_the_commit_that_was_tested() -> None:
    assert github()["main"] == [
        "make deploy TARGET=test",
        "make test-deployed TARGET=test",
        "make deploy TARGET=prod",
    ]


@pytest.mark.parametrize("is_there", [True, False])
def test_what_reads_the_real_data_set_is_skipped_where_nothing_of_it_is_alone(
    *, is_there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hosted runner does not have it, and says so; the project's own has, and skips nothing."""
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(conftest, "SHARED", tmp_path if is_there else tmp_path / "none")
    tests = sorted((PROJECT / "tests" / "integration").glob("test_*.py"))
    reads = {path.name for path in tests if "tests.support.set_1" in path.read_text()}
    items = [mock.Mock(path=path) for path in tests]
    conftest.pytest_collection_modifyitems(items)  # type: ignore[arg-type]
    skipped = {item.path.name for item in items if item.add_marker.called}
    assert skipped == (set() if is_there else reads)
    assert len(reads) == 4
