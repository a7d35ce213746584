"""Tests what is deployed: integration_test.py HOST --target test.

It lands a small set in the target's inbox, runs the job, and compares gold with the set's answers.
The token is that of DATABRICKS_TOKEN.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from datetime import UTC, datetime, timedelta

from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import OperationFailed
from databricks.sdk.service.jobs import RunResultState
from databricks.sdk.service.sql import StatementState
from job import JOB_KEY
from small_set import files_of, midnight_before, questions_of
from targets import SettingError, Target, read_target
from workspace import WorkspaceError, connect, exit_code, say

# How long the job may take.
_PATIENCE = timedelta(hours=4)
# How often a question is looked at that is not answered yet, in seconds.
_LOOK_SECONDS = 5


def land(workspace: WorkspaceClient, target: Target, number: int, day: datetime) -> None:
    """Delivers the files of the small set into the inbox."""
    for table, (name, content) in files_of(number, day).items():
        path = f"/Volumes/{target.catalog}/files/inbox/{table}/{name}"
        workspace.files.upload(path, io.BytesIO(content), overwrite=True)


def run_job(workspace: WorkspaceClient, target: Target) -> None:
    """Runs the job to its end.

    Raises:
        WorkspaceError: There is no such job, or its run fails.
    """
    name = f"{JOB_KEY}-{target.name}"
    [job_id, *others] = [job.job_id for job in workspace.jobs.list(name=name)] or [None]
    if job_id is None or others:
        raise WorkspaceError(
            f"There is no job {name}, or more than one. Run deploy.py --target {target.name} first."
        )
    try:
        run = workspace.jobs.run_now(job_id).result(timeout=_PATIENCE)
    except OperationFailed as error:
        raise WorkspaceError(f"The run of {name} failed: {error}. Look at it there.") from None
    if run.state is None or run.state.result_state is not RunResultState.SUCCESS:
        told = run.state.result_state.value if run.state and run.state.result_state else "unknown"
        raise WorkspaceError(f"The run of {name} ended as {told}. Look at {run.run_page_url}")


def ask(workspace: WorkspaceClient, target: Target, sql: str) -> list[list[str]]:
    """Asks the warehouse; returns the rows, each value as text.

    Raises:
        WorkspaceError: The question fails.
    """
    answer = workspace.statement_execution.execute_statement(sql, target.warehouse_id)
    while answer.status and answer.status.state in (StatementState.PENDING, StatementState.RUNNING):
        time.sleep(_LOOK_SECONDS)
        answer = workspace.statement_execution.get_statement(answer.statement_id)
    if answer.status is None or answer.status.state is not StatementState.SUCCEEDED:
        fault = answer.status.error.message if answer.status and answer.status.error else "unknown"
        raise WorkspaceError(f"{sql}: {fault}. Check the warehouse {target.warehouse_id}.")
    return (answer.result.data_array if answer.result else None) or []


def main(arguments: list[str]) -> int:
    """Runs the script; returns its exit code: 0 done, 1 failed, 2 wrong use."""
    parser = argparse.ArgumentParser(description="Tests what is deployed, from files to gold.")
    parser.add_argument("host", metavar="HOST", help="the workspace, https://...")
    parser.add_argument("--target", default="test", help="of targets.yml; by default test")
    given = parser.parse_args(arguments)

    def work() -> None:
        if given.target == "prod":
            raise SettingError("It lands made-up data, so not in prod. Choose dev or test.")
        target = read_target(given.target)
        target.check_filled("warehouse_id")
        workspace = connect(given.host)
        now = datetime.now(UTC)
        number, day = int(now.timestamp()), midnight_before(now)
        land(workspace, target, number, day)
        run_job(workspace, target)
        wrong = []
        for sql, row in questions_of(number, day, target.catalog):
            if (rows := ask(workspace, target, sql)) != [row]:
                wrong.append(f"{sql}: gold has {rows}, and should have {[row]}")
        if wrong:
            raise WorkspaceError(f"{'; '.join(wrong)}. Look at the rejects in audit.rejects.")
        say(f"Gold is right for what was landed: {number}.")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
