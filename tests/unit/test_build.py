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
