"""The test of what is deployed, against a workspace on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.databricks.scripts import TARGET, integration_test
from tests.databricks.workspace_server import (
    TOKEN,
    WorkspaceServer,
    serving,
    without_waiting,
)

NOW = datetime(2026, 3, 2, 1, 30, tzinfo=UTC)
NUMBER = 1772415000  # the seconds of NOW
# What the warehouse gives: rows of text.
WORKOUT = ["2026-02-28", "1", "1", "F", "Springfield", "IL", "100", "115", "130", "4", "1"]
GYM = ["2026-02-28", "1", "60", "30", "1"]


class Answers(dict[str, Any]):
    """The warehouse's answers by the mart that a question names."""

    def __getitem__(self, sql: str) -> Any:
        assert f" from lakehouse_test.gold.{'gym_summary' if 'gym' in sql else 'workout'}" in sql
        assert str(NUMBER) in sql or "'02:00:69:a4:e8:18'" in sql
        return super().__getitem__("gym" if "gym_summary" in sql else "workout")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkspaceServer]:
    with serving(monkeypatch) as server:
        server.add_job({"name": "ingest-process-pipeline-test"})
        server.answers = Answers(workout=(["a"], [WORKOUT]), gym=(["a"], [GYM]))
        yield server


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    without_waiting(monkeypatch)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return NOW

    monkeypatch.setattr(integration_test, "datetime", Clock)
    monkeypatch.setattr(integration_test, "read_target", lambda _: TARGET)


def test_it_lands_runs_and_compares(
    server: WorkspaceServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert integration_test.main([server.url]) == 0
    assert capsys.readouterr().out == f"Gold is right for what was landed: {NUMBER}.\n"
    inbox = "/Volumes/lakehouse_test/files/inbox"
    assert {path: content.count(b"\n") for path, content in server.files.items()} == {
        f"{inbox}/sbit.registered_users/{NUMBER}.csv": 2,
        f"{inbox}/sbit.gym_logins/{NUMBER}.csv": 2,
        f"{inbox}/sbit.kafka_multiplex/{NUMBER}.json": 9,
    }
    asked = [path for method, path in server.asked if method in ("PUT", "POST")]
    assert [path.split("/")[3] for path in asked] == ["fs"] * 3 + ["jobs"] + ["sql"] * 2


@pytest.mark.parametrize(
    ("mart", "rows"),
    [("workout", [[*WORKOUT[:-1], "0"]]), ("gym", []), ("gym", [GYM, GYM])],
)
def test_another_answer_is_told(
    server: WorkspaceServer,
    capsys: pytest.CaptureFixture[str],
    mart: str,
    rows: list[list[str | None]],
) -> None:
    server.answers[mart] = (["a"], rows)
    assert integration_test.main([server.url]) == 1
    told = capsys.readouterr().err
    assert f"gold has {rows}, and should have" in told
    assert told.count("gold has") == 1


def test_a_run_that_fails_is_told_with_its_page(
    server: WorkspaceServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.ends_as = "FAILED"
    assert integration_test.main([server.url]) == 1
    assert capsys.readouterr().err == (
        f"The run of ingest-process-pipeline-test ended as FAILED. Look at {server.url}/run/5\n"
    )
    assert "/api/2.0/sql/statements" not in [path for _, path in server.asked]


def test_without_the_job_it_says_what_to_run(
    server: WorkspaceServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.jobs.clear()
    assert integration_test.main([server.url]) == 1
    assert "Run deploy.py --target test first." in capsys.readouterr().err


def test_it_lands_nothing_in_prod(
    server: WorkspaceServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert integration_test.main([server.url, "--target", "prod"]) == 2
    assert capsys.readouterr().err == (
        "It lands made-up data, so not in prod. Choose dev or test.\n"
    )
    assert not server.asked


def test_the_token_does_not_leak(
    server: WorkspaceServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.echoes = True
    server.faults = {("POST", "/api/2.2/jobs/run-now"): [403]}
    assert integration_test.main([server.url]) == 1
    told = capsys.readouterr().err
    assert "no ***. Check the rights" in told
    assert TOKEN not in told
