from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from dbt.cli.main import dbtRunner, dbtRunnerResult

from lakehouse.build import _RUN_STATE, Dbt
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, Settings


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
        read = SimpleNamespace(name=f"as read {len(handed)}", flat_graph={})
        return dbtRunnerResult(success=True, result=read)

    monkeypatch.setattr(dbtRunner, "invoke", invoke)
    dbt = Dbt(Settings(home=tmp_path))
    dbt.parse()
    dbt("build")
    dbt.parse()
    dbt("build")
    assert [manifest and manifest.name for manifest in handed] == [
        *(None, "as read 1"),
        *(None, "as read 3"),
    ]


@pytest.mark.parametrize("is_done", [True, False])
def test_what_a_run_leaves_in_the_project_goes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_done: bool
) -> None:
    graph = {"nodes": {}}

    def invoke(runner: dbtRunner, _: list[str]) -> dbtRunnerResult:
        if runner.manifest:
            assert graph == {"nodes": {}}
            graph["lakehouse_run_state_7"] = {"touched": {}}
        result = SimpleNamespace(flat_graph=graph)
        return dbtRunnerResult(success=is_done or not runner.manifest, result=result)

    monkeypatch.setattr(dbtRunner, "invoke", invoke)
    dbt = Dbt(Settings(home=tmp_path))
    dbt.parse()
    with nullcontext() if is_done else pytest.raises(LakehouseError):
        dbt("build")
    assert graph == {"nodes": {}}


def test_the_macro_names_its_state_as_it_is_forgotten() -> None:
    macro = (PROJECT / "macros" / "incremental" / "run_state.sql").read_text()
    assert f"set key = '{_RUN_STATE}' ~ invocation_id" in macro
