"""What the dbt plugin refuses, in dbt itself; no engine is started for it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import yaml
from dbt.cli.main import dbtRunner

from dbt_lakehouse import reason
from ingestion.lock import locked
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, Settings

# Without it dbt itself refuses a beginning.
UNTIL = ("--event-time-end", "2026-01-02")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    def start(_: Settings) -> None:
        raise LakehouseError("The engine would have been started.")

    monkeypatch.setattr(local, "start", start)
    monkeypatch.setenv("LAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(PROJECT))
    return tmp_path / "home"


def fault(home: Path, *arguments: str) -> list[str]:
    """The lines with which dbt ends before it has started the engine."""
    target = home.parent / "target"
    result = dbtRunner().invoke(
        [
            *("--log-level", "none", *arguments, "--project-dir", str(PROJECT)),
            *("--target-path", str(target), "--log-path", str(home.parent / "logs")),
        ]
    )
    assert not result.success
    assert not home.exists()
    return str(result.exception).splitlines()


def refusal(home: Path, *arguments: str) -> str:
    """The one line of the plugin with which dbt ends."""
    [head, line] = fault(home, *arguments)
    assert head == "Runtime Error"
    return line.strip()


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["build", "--empty"], "--empty"),
        (["run", "--empty", "--select", "gym_summary"], "--empty"),
        (["snapshot", "--empty"], "--empty"),
        (["build", "--sample", "1 day"], "--sample"),
        (["run", "--sample", "{'start': '2026-01-01', 'end': '2026-01-02'}"], "--sample"),
        (["build", "--event-time-start", "2026-01-01", *UNTIL], "--event-time-start"),
    ],
)
def test_what_reads_less_than_all_is_refused(home: Path, arguments: list[str], option: str) -> None:
    assert refusal(home, *arguments).startswith(f"{option} would leave tables without rows")


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DBT_EMPTY", "true"), ("DBT_ENGINE_EMPTY", "1"), ("DBT_SAMPLE", "1 day")],
)
def test_so_is_what_the_environment_asks_for(
    home: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    option = "--" + variable.rsplit("_", 1)[1].lower()
    assert refusal(home, "run").startswith(f"{option} would leave tables without rows")


def test_a_profile_of_somebody_else_starts_no_engine(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a job's on Databricks, which dbt is given without a word of the target."""
    there = {"type": "spark", "method": "thrift", "host": "127.0.0.1", "port": 1}
    there |= {"schema": "s", "connect_retries": 0}
    profile = {"lakehouse": {"target": "elsewhere", "outputs": {"elsewhere": there}}}
    folder = home.parent / "profiles"
    folder.mkdir()
    (folder / "profiles.yml").write_text(yaml.safe_dump(profile))
    monkeypatch.setenv("DBT_PROFILES_DIR", str(folder))
    assert "failed to connect" in " ".join(fault(home, "build"))


@pytest.mark.parametrize("command", ["list", "ls"])
def test_what_reads_files_alone_starts_no_engine(home: Path, command: str) -> None:
    """dbt has two names for it, and the plugin is told the one that was typed."""
    arguments = ("--quiet", command, "--select", "gym_summary", "--resource-type", "model")
    outcome = dbtRunner().invoke(
        [
            *(*arguments, "--project-dir", str(PROJECT), "--log-path", str(home.parent / "logs")),
            *("--target-path", str(home.parent / "target")),
        ]
    )
    assert outcome.result == ["lakehouse.marts.wearables.gym_summary"]
    assert not home.exists()


@pytest.mark.parametrize("command", ["build", "run", "seed", "snapshot", "test"])
def test_what_is_kept_has_the_report_time_of_the_data(home: Path, command: str) -> None:
    line = refusal(home, command, "--vars", "{as_of: '2026-01-01 00:00:00+00:00'}")
    assert line.startswith("as_of: the report time of what is kept is the data's. Ask for another")


def test_a_retry_with_a_report_time_is_refused_too(home: Path) -> None:
    target = home.parent / "target"
    target.mkdir()
    results = {"args": {"which": "run", "vars": {"as_of": "2026-01-01"}}}
    (target / "run_results.json").write_text(json.dumps(results))
    assert refusal(home, "retry").startswith("as_of: the report time")


@pytest.mark.parametrize("command", ["build", "run", "seed", "snapshot", "test"])
def test_production_is_written_to_by_who_says_so_alone(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "prod")
    assert refusal(home, command) == (
        f"dbt {command} would write to production. If that is meant, say so: LAKEHOUSE_PROD=yes "
        f"dbt {command}; else set LAKEHOUSE_ENVIRONMENT, and a home or catalog, to another one."
    )
    monkeypatch.setenv("LAKEHOUSE_PROD", "yes")
    assert "would write" not in refusal(home, command)


@pytest.mark.parametrize("command", ["show", "compile"])
def test_who_asks_may_ask_production(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "prod")
    assert refusal(home, command, "--inline", "select 1") == "The engine would have been started."


def test_an_unknown_environment_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "production")
    assert refusal(home, "build").startswith("LAKEHOUSE_ENVIRONMENT=production is none of dev")


@pytest.mark.parametrize("command", ["show", "compile"])
def test_who_asks_may_name_a_report_time(home: Path, command: str) -> None:
    line = refusal(home, command, "--inline", "select 1", "--vars", "{as_of: '2026-01-01'}")
    assert line == "The engine would have been started."


@pytest.mark.parametrize("command", ["build", "test"])
def test_what_writes_waits_for_no_other_build(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setattr(local, "start", lambda _: None)
    other = locked(home.parent / "build.lock", "builds")
    monkeypatch.setattr(local, "only_build", lambda _: locked(home.parent / "build.lock", "builds"))
    with other:
        assert refusal(home, command).startswith(f"Process {os.getpid()} builds at the moment")


def test_a_retry_is_what_it_repeats(home: Path) -> None:
    target = home.parent / "target"
    target.mkdir()
    results = {"args": {"which": "run", "empty": True}}
    (target / "run_results.json").write_text(json.dumps(results))
    assert refusal(home, "retry").startswith("--empty would leave tables without rows")


def test_a_retry_takes_no_sample_from_the_environment(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBT_ENGINE_SAMPLE", "1 day")
    target = home.parent / "target"
    target.mkdir()
    (target / "run_results.json").write_text(json.dumps({"args": {"which": "run"}}))
    assert refusal(home, "retry").startswith("--sample would leave tables without rows")


def test_tables_of_another_state_are_refused(home: Path) -> None:
    assert "Build them: dbt build" in refusal(home, "clone", "--state", str(home.parent))


@pytest.mark.parametrize("command", ["build", "seed", "snapshot", "run-operation"])
def test_nothing_is_written_in_the_linters_name(
    home: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("DBT_LINT", "1")
    macro = ["begin_run"] if command == "run-operation" else []
    assert refusal(home, command, *macro).endswith("unset DBT_LINT")


@pytest.mark.parametrize(
    "command", [["docs", "generate"], ["snapshot"], ["compile"], ["show", "--select", "gym_visits"]]
)
def test_before_the_first_build_a_line_says_what_to_do(home: Path, command: list[str]) -> None:
    assert refusal(home, *command) == (
        f"Nothing is built yet in {home}. Run: dbt build, or once data has come (lakehouse land, "
        "lakehouse generate): lakehouse run"
    )


def test_what_the_system_refuses_is_a_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: Settings) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/home/engine/lock")

    monkeypatch.setattr(local, "start", start)
    assert refusal(home, "build") == "/home/engine/lock: No space left on device"


def test_of_an_engines_error_people_get_the_reason() -> None:
    told = (
        "Error running query: [NO] org.Exception: [NO] No such thing. SQLSTATE: 42P01; line 3\n"
        "'Project [*]\n"
        "\tat org.Server.run(Server.scala:43)\n"
    )
    assert reason(told) == (
        "Error running query: [NO] org.Exception: [NO] No such thing. SQLSTATE: 42P01"
    )
    assert reason("java.lang.Error: none\n\tat org.Server") == "java.lang.Error: none"
    assert reason("[TABLE_OR_VIEW_NOT_FOUND] x. SQLSTATE: 42P01").endswith(
        "Run: dbt build, or once data has come (lakehouse land, lakehouse generate): lakehouse run"
    )
