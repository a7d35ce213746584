"""Each environment has a place of its own, and nobody writes to production by mistake."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import NoReturn

import pytest
import yaml
from jinja2 import Environment
from typer.main import get_command

from lakehouse import cli
from lakehouse.environment import check_home, check_may_write, environment, mark_home
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, load_settings

TARGETS = yaml.safe_load((PROJECT / "deploy/databricks/targets.yml").read_text())["targets"]
SETTINGS = ("LAKEHOUSE_ENVIRONMENT", "LAKEHOUSE_PROD", "DATABRICKS_CATALOG")
# What changes nothing that production's readers would see.
READS = [
    *(["doctor"], ["up"], ["down"], ["status"], ["query", "select 1"], ["alerts"], ["report"]),
    ["restore", "network"],
]
WRITES = [
    *(["land", "sbit.gym_logins", "visits.csv"], ["generate", "network"], ["ingest"], ["run"]),
    *(["accept", "sbit.gym_logins"], ["maintain"]),
    *(["restore", "network", "--to", "12"], ["restore", "network", "--release"]),
]
COMMANDS = sorted({told[0] for told in (*READS, *WRITES)})
_SCHEMAS = "bronze|silver|snapshots|gold_build|gold|audit"
# `catalog.schema.table`, unless the catalog is a value (`{catalog}.gold.x`) or a package's module.
IN_A_CATALOG = re.compile(
    rf"(?<![\w.}}`])(?!`?ingestion\.bronze)`?[a-z]\w*`?\.`?(?:{_SCHEMAS})`?\.`?\w", re.IGNORECASE
)


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LAKEHOUSE_HOME", "/as/it/was")  # put back after the test


class LetThroughError(Exception):
    """The command has begun."""


@pytest.fixture
def _ends_where_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command asks first where it is to work."""

    def begins() -> NoReturn:
        raise LetThroughError

    monkeypatch.setattr(cli, "_settings", begins)


def refusal(told: list[str]) -> str:
    """The line with which a command ends that is asked in a wrong way."""
    with pytest.raises(LakehouseError) as error:
        cli.app(told, standalone_mode=False)
    assert error.value.exit_code == 2
    assert len(str(error.value).splitlines()) == 1
    return str(error.value)


def test_every_command_reads_or_writes() -> None:
    assert sorted(get_command(cli.app).commands) == COMMANDS  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_ends_where_it_begins")
@pytest.mark.parametrize("told", WRITES, ids=" ".join)
def test_production_is_written_to_by_who_says_so_alone(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "prod")
    assert refusal(told).startswith(
        f"lakehouse {told[0]} would write to production. If that is meant, say so: "
        f"LAKEHOUSE_PROD=yes lakehouse {told[0]}"
    )
    monkeypatch.setenv("LAKEHOUSE_PROD", "no")
    assert "LAKEHOUSE_PROD=yes" in refusal(told)
    for name, word in (("prod", "yes"), ("test", ""), ("dev", ""), ("", "")):
        monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", name)
        monkeypatch.setenv("LAKEHOUSE_PROD", word)
        with pytest.raises(LetThroughError):
            cli.app(told, standalone_mode=False)


@pytest.mark.usefixtures("_ends_where_it_begins")
@pytest.mark.parametrize("told", READS, ids=" ".join)
def test_production_may_be_asked_by_anybody(
    told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "prod")
    with pytest.raises(LetThroughError):
        cli.app(told, standalone_mode=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_how_a_command_is_asked_is_told_in_production_too(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "prod")
    cli.app([command, "--help"], standalone_mode=False)
    assert f"{command} [" in capsys.readouterr().out


def test_the_catalog_of_production_is_production(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, target in TARGETS.items():
        monkeypatch.setenv("DATABRICKS_CATALOG", target["catalog"])
        if name == "prod":
            for catalog in (target["catalog"], target["catalog"].upper()):  # Databricks has no case
                monkeypatch.setenv("DATABRICKS_CATALOG", catalog)
                with pytest.raises(LakehouseError, match="dbt build would write to production"):
                    check_may_write("dbt build")
        else:
            check_may_write("dbt build")


@pytest.mark.parametrize(
    ("set_", "catalog"),
    [
        ({}, "lakehouse_dev"),
        ({"LAKEHOUSE_ENVIRONMENT": ""}, "lakehouse_dev"),
        ({"LAKEHOUSE_ENVIRONMENT": "test"}, "lakehouse_test"),
        ({"LAKEHOUSE_ENVIRONMENT": "test", "DATABRICKS_CATALOG": "mine"}, "mine"),
    ],
)
def test_dbt_builds_in_the_catalog_of_the_environment(set_: dict[str, str], catalog: str) -> None:
    profiles = yaml.safe_load((PROJECT / "profiles.yml").read_text(encoding="utf-8"))
    text = profiles["lakehouse"]["outputs"]["databricks"]["catalog"]
    written = Environment(autoescape=True).from_string(text)
    assert written.render(env_var=set_.get) == catalog


def test_an_unknown_environment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "production")
    with pytest.raises(LakehouseError, match="production is none of dev, test, prod") as error:
        environment()
    assert error.value.exit_code == 2
    with pytest.raises(LakehouseError, match="is none of"):
        load_settings(tmp_path)
    with pytest.raises(LakehouseError, match="is none of"):
        check_may_write("lakehouse run")


def test_a_home_is_of_the_environment_that_first_used_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_settings(tmp_path)  # nobody's yet
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "prod")
    load_settings(tmp_path)
    mark_home(tmp_path)
    load_settings(tmp_path)
    for other in ("dev", "test", ""):
        monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", other)
        with pytest.raises(LakehouseError, match="is the home of prod, and LAKEHOUSE_ENV") as error:
            load_settings(tmp_path)
        assert error.value.exit_code == 2
        mark_home(tmp_path)
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "prod")
    load_settings(tmp_path)


def test_the_default_home_is_that_of_dev(monkeypatch: pytest.MonkeyPatch) -> None:
    check_home(None, PROJECT / ".no home")
    monkeypatch.setenv("LAKEHOUSE_ENVIRONMENT", "test")
    with pytest.raises(LakehouseError, match="LAKEHOUSE_ENVIRONMENT=test has a home of its own"):
        check_home(None, PROJECT / ".no home")


def test_no_name_has_a_catalog_in_it() -> None:
    """So whatever catalog is chosen, all of the project honours it.

    In Python the session's catalog counts, in dbt the target's.
    """
    parts = ("ingestion", "lakehouse", "macros", "models", "seeds", "snapshots", "deploy")
    files = [PROJECT / "dbt_lakehouse.py", PROJECT / "dbt_project.yml"]
    for part in (*parts, "tests/dbt", "docs/demo"):
        files += (PROJECT / part).rglob("*.*")
    texts = {
        path: path.read_text(encoding="utf-8")
        for path in files
        if path.suffix in (".py", ".sql", ".yml", ".md", ".j2")
    }
    assert len(texts) > 300
    found = [
        f"{path.relative_to(PROJECT)}: {match[0]}"
        for path, text in texts.items()
        for match in IN_A_CATALOG.finditer(text)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("from spark_catalog.gold.gym_summary", True),
        ("from `lakehouse_prod`.`audit`.`domains`", True),
        ("join Dev.silver.dim_users", True),
        ("from gold.gym_summary", False),
        ("from {catalog}.gold.gym_summary", False),
        ("from ingestion.bronze import connect", False),
    ],
)
def test_a_name_with_a_catalog_would_be_found(text: str, *, is_found: bool) -> None:
    assert bool(IN_A_CATALOG.search(text)) == is_found


def test_no_schema_of_dbt_has_a_prefix() -> None:
    """Sources too: what ingestion writes is what dbt reads."""
    for path in PROJECT.glob("models/**/*__sources.yml"):
        for source in yaml.safe_load(path.read_text(encoding="utf-8"))["sources"]:
            assert source["schema"] in ("bronze", "audit")


def test_sessions_are_opened_where_their_catalog_is_chosen() -> None:
    """The local engine has one catalog; on Databricks sessions are told, or all names have it."""
    opens = {
        str(path.relative_to(PROJECT))
        for part in ("ingestion", "lakehouse", "deploy")
        for path in (PROJECT / part).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("getOrCreate", "create")
        and "builder" in ast.unparse(node)
    }
    databricks = {"deploy/databricks/ingest.py", "deploy/databricks/governance.py"}
    assert opens == {"ingestion/bronze.py", *databricks}


def test_the_commands_of_the_docs_are_those_that_there_are() -> None:
    told = (PROJECT / "docs/environments.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ {4,}(?:LAKEHOUSE_PROD=yes )?((?:lakehouse|make) [^,\n]+)$", told, re.M)
    assert len(lines) >= 10
    commands = get_command(cli.app).commands  # type: ignore[attr-defined]
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.M)
    for line in lines:
        command, name, *arguments = line.split()
        if command == "make":
            assert name in targets
        else:
            commands[name].make_context(name, arguments)
