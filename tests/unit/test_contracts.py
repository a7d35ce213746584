"""A change that breaks readers of the last release makes `make lint` fail, and no other does."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from dbt.cli.main import dbtRunner

from lakehouse.contracts import promised
from lakehouse.settings import PROJECT

MART = {
    "name": "sums",
    "description": "Sums. One row per day.",
    "config": {"contract": {"enforced": True}},
    "columns": [
        {"name": "day", "data_type": "date", "description": "The day."},
        {"name": "total", "data_type": "decimal(18,2)", "description": "The sum."},
    ],
}


def compare_contracts() -> list[str]:
    """What `make lint` has dbt do, without its fresh reading of the project."""
    text = (PROJECT / "Makefile").read_text().replace("\\\n", " ")
    [line] = re.findall(r"^compare-contracts = (.*)$", text, re.MULTILINE)
    return [word for word in shlex.split(line)[1:] if word != "--no-partial-parse"]


def run(project: Path, *arguments: str) -> Any:
    return dbtRunner().invoke(
        [*arguments, "--project-dir", str(project), "--profiles-dir", str(PROJECT)]
    )


def write(project: Path, mart: dict[str, Any] | None) -> None:
    models = project / "models"
    models.mkdir(exist_ok=True)
    for file in models.iterdir():
        file.unlink()
    if mart:
        (models / "sums.sql").write_text("select day, total from somewhere")
        (models / "models.yml").write_text(yaml.safe_dump({"version": 2, "models": [mart]}))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """One mart, as it was released."""
    named = {"name": "shop", "profile": "lakehouse", "config-version": 2}
    (tmp_path / "dbt_project.yml").write_text(yaml.safe_dump(named))
    write(tmp_path, MART)
    assert run(tmp_path, "--quiet", "parse").success
    manifest = json.loads((tmp_path / "target" / "manifest.json").read_text())
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "manifest.json").write_text(json.dumps(promised(manifest)))
    return tmp_path


def changed(**of_total: Any) -> dict[str, Any]:
    day, total = MART["columns"]
    return {**MART, "columns": [day, {**total, **of_total}]}


NEW = {"name": "orders", "data_type": "bigint", "description": "How many."}


@pytest.mark.parametrize(
    "change",
    [
        MART,
        {**MART, "columns": [*MART["columns"], NEW]},
        {**MART, "columns": MART["columns"][::-1]},
        {**MART, "description": "Other words. One row per day."},
    ],
    ids=["nothing", "a column more", "another order", "other words"],
)
def test_what_readers_do_not_notice_passes(project: Path, change: dict[str, Any]) -> None:
    write(project, change)
    outcome = run(project, *compare_contracts())
    assert outcome.success, outcome.exception


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({**MART, "columns": MART["columns"][:1]}, "Columns were removed.*total"),
        (changed(name="sum"), "Columns were removed.*total"),
        (changed(data_type="double"), r"total \(decimal\(18,2\) -> double\)"),
        ({**MART, "config": {}}, "Contract enforcement was removed"),
        (None, "sums' was deleted or renamed"),
    ],
    ids=["a column less", "another name", "another type", "no contract", "no mart"],
)
def test_what_breaks_readers_is_an_error(
    project: Path, change: dict[str, Any] | None, told: str
) -> None:
    write(project, change)
    outcome = run(project, *compare_contracts())
    assert not outcome.success
    assert re.search(told, str(outcome.exception), re.DOTALL), outcome.exception


def test_what_is_kept_of_a_release_is_what_is_compared(manifest: Any) -> None:
    kept = json.loads((PROJECT / "contracts" / "manifest.json").read_text())
    whole = manifest.writable_manifest().to_dict(omit_none=False)
    marts = {
        name
        for name in whole["nodes"]
        if name.startswith("model.") and "marts" in whole["nodes"][name]["fqn"]
    }
    assert promised(whole)["nodes"].keys() == marts
    assert {name: {} for name in kept if name not in ("metadata", "nodes")}.items() <= kept.items()
    assert len(json.dumps(kept)) < len(json.dumps(whole)) / 50
