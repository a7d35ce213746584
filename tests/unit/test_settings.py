from __future__ import annotations

import os
from pathlib import Path

import pytest

from lakehouse.errors import LakehouseError
from lakehouse.settings import load_settings


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_HOME", "/as/it/was")  # put back after the test


@pytest.mark.parametrize("unfit", list(';,:*?[]{}"\\\n\t\x7f'))
def test_a_folder_in_which_the_engine_cannot_work_is_refused_in_a_line(unfit: str) -> None:
    with pytest.raises(LakehouseError, match="the engine cannot work in a folder with") as error:
        load_settings(Path(f"/a{unfit}b/home"))
    assert repr(unfit) in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert error.value.exit_code == 2


@pytest.mark.parametrize("name", ["/ends with a space ", os.fsdecode(b"/no\xfftext")])
def test_so_is_one_whose_name_would_not_come_through(name: str) -> None:
    with pytest.raises(LakehouseError, match="the engine cannot work") as error:
        load_settings(Path(name))
    str(error.value).encode()  # it can be printed


@pytest.mark.parametrize("name", ["a'b c#d", "e%20f", "$g$(h)&=!+@~^|<>`", "ü 家"])
def test_any_other_folder_will_do(tmp_path: Path, name: str) -> None:
    assert load_settings(tmp_path / name).paths.root == tmp_path / name
