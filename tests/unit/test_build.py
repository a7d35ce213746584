from __future__ import annotations

from pathlib import Path

import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult

from lakehouse.build import Dbt
from lakehouse.settings import Settings


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(143)])
def test_what_stops_dbt_stops_its_caller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: BaseException
) -> None:
    result = dbtRunnerResult(success=False, exception=stop)
    monkeypatch.setattr(dbtRunner, "invoke", lambda *_: result)
    with pytest.raises(type(stop)):
        Dbt(Settings(home=tmp_path))("build")


def test_the_project_is_read_when_it_is_asked_for_and_no_other_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed = []

    def invoke(runner: dbtRunner, _: list[str]) -> dbtRunnerResult:
        handed.append(runner.manifest)
        return dbtRunnerResult(success=True, result=f"as read {len(handed)}")

    monkeypatch.setattr(dbtRunner, "invoke", invoke)
    dbt = Dbt(Settings(home=tmp_path))
    dbt.parse()
    dbt("build")
    dbt.parse()
    dbt("build")
    assert handed == [None, "as read 1", None, "as read 3"]
