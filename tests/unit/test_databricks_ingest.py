"""The entry of ingestion on Databricks, without Databricks: what it asks for, and how it ends."""

from __future__ import annotations

import importlib.util
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ingestion.feed import SourceLoad
from ingestion.home import Home
from ingestion.loads import Load
from lakehouse.settings import PROJECT

FILE = PROJECT / "deploy" / "databricks" / "ingest.py"


@pytest.fixture
def ingest() -> ModuleType:
    spec = importlib.util.spec_from_file_location("databricks_ingest", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Databricks:
    """What the entry asks of the session, of loads and of history."""

    def __init__(self, ingest: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Any] = []
        self.failures: list[str] = []
        self.waiting = 2
        session = SimpleNamespace(
            sql=self.asked.append,
            conf=SimpleNamespace(set=lambda key, value: self.asked.append((key, value))),
        )
        builder = SimpleNamespace(getOrCreate=lambda: session)
        monkeypatch.setattr(ingest, "SparkSession", SimpleNamespace(builder=builder))
        monkeypatch.setattr(ingest, "Loads", self.loads)
        monkeypatch.setattr(ingest, "History", self.history)
        monkeypatch.setattr(
            ingest, "create_tables", lambda _, tables: self.asked.append(f"{len(tables)} tables")
        )

    def loads(self, _: Any, home: Home, __: Any, **named: Any) -> Any:
        self.asked.append((home.inbox, named))
        return self

    @property
    def goes_on(self) -> bool:
        return self.waiting > 0

    def run(self, but: set[tuple[str, str]]) -> Load | None:
        self.waiting -= 1
        source = SourceLoad("sbit.gym_logins", rows=3)
        if self.failures:
            source.fail("files", self.failures[0])
        return Load(7 - self.waiting, [source])

    def history(self, _: Any, __: Home, table: Any, folder: Path) -> Any:
        self.asked.append((table.full_name, folder))
        proof = SimpleNamespace(files=1, rows_in_bronze=2)
        return SimpleNamespace(take_in=lambda loads, _: [loads.run(set())], prove=lambda: proof)


@pytest.fixture
def databricks(ingest: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Databricks:
    return Databricks(ingest, monkeypatch)


def test_it_takes_in_from_the_volumes_of_the_catalog(
    ingest: ModuleType, databricks: Databricks, capsys: pytest.CaptureFixture[str]
) -> None:
    ingest.main(["--catalog", "lakehouse_test"])  # no exit: Databricks takes one for a failure

    assert databricks.asked == [
        "use catalog `lakehouse_test`",
        ("spark.sql.session.timeZone", "UTC"),
        "16 tables",
        (Path("/Volumes/lakehouse_test/files/inbox"), {"interprets": False}),
    ]
    assert capsys.readouterr().out.splitlines() == [
        "load 6: sbit.gym_logins: rows 3",
        "load 7: sbit.gym_logins: rows 3",
    ]


def test_a_source_that_fails_fails_the_task_once_all_is_taken_in(
    ingest: ModuleType, databricks: Databricks
) -> None:
    databricks.failures = ["no space"]
    with pytest.raises(SystemExit, match=r"^sbit\.gym_logins: no space$"):
        ingest.main(["--catalog", "lakehouse_test"])
    assert databricks.waiting == 0


def test_of_a_year_it_takes_in_what_there_is(
    ingest: ModuleType, databricks: Databricks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "lakehouse_test" / "files" / "history"
    for year, table in (("2024", "retail.orders"), ("2025", "sbit.gym_logins")):
        (there / year / table / "january").mkdir(parents=True)
        (there / year / table / "january" / "a.csv").write_text("a\n")
    (there / "2024" / "retail.clicks").mkdir()  # of which there is nothing
    monkeypatch.setattr(ingest, "Path", lambda text: tmp_path if text == "/Volumes" else Path(text))
    ingest.main(["--catalog", "lakehouse_test", "--year", "2024"])
    assert databricks.asked[4:] == [("retail.orders", there / "2024" / "retail.orders")]
    ingest.main(["--catalog", "lakehouse_test", "--year", "1999"])
    assert len(databricks.asked) == 4 + 1 + 4


def test_it_finds_the_project_without_being_told_where_it_lies(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code = compile(FILE.read_text(), "<string>", "exec")
    monkeypatch.chdir(FILE.parent)
    names: dict[str, Any] = {"__name__": "of Databricks"}
    exec(code, names)  # noqa: S102 - as Databricks does
    assert names["project"]() == PROJECT
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="run it from a checkout"):
        exec(code, {"__name__": "of Databricks"})  # noqa: S102


@pytest.mark.parametrize("name", ["governance.py", "report.py"])
def test_the_others_find_what_lies_beside_them(name: str) -> None:
    # Nobody promises that the folder one is in is searched.
    code = (
        "import sys\n"
        "sys.path = [path for path in sys.path if path]\n"
        f"exec(compile(open({name!r}).read(), '<string>', 'exec'), {{'__name__': '__main__'}})"
    )
    asked = [sys.executable, "-c", code, "--help"]
    told = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=FILE.parent)
    assert told.stdout.startswith("usage: ")


def test_the_pages_go_into_a_volume(
    databricks: Databricks,
    ingest: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "ingest", ingest)
    written: list[tuple[Path, Any]] = []
    pages = ModuleType("lakehouse.report")
    pages.site = SimpleNamespace(  # type: ignore[attr-defined] # as `lakehouse report` writes it
        write=lambda folder, ask: written.append((folder, ask)) or folder / "index.html"
    )
    monkeypatch.setitem(sys.modules, "lakehouse.report", pages)
    names = runpy.run_path(str(FILE.parent / "report.py"), run_name="of Databricks")
    names["main"](["--catalog", "lakehouse_test"])
    [(folder, ask)] = written
    assert folder == Path("/Volumes/lakehouse_test/files/site")
    assert callable(ask)
    assert databricks.asked[0] == "use catalog `lakehouse_test`"
    assert capsys.readouterr().out == "/Volumes/lakehouse_test/files/site/index.html\n"


def test_the_job_brings_what_ingestion_imports() -> None:
    code = (
        "import runpy, sys\n"
        f"runpy.run_path({str(FILE)!r}, run_name='of Databricks')\n"
        "from ingestion.feed import all_feeds\n"
        "all_feeds()\n"
        "of = [(name, getattr(one, '__file__', None) or '') for name, one in sys.modules.items()]\n"
        "print(*sorted({name.split('.')[0] for name, file in of if 'site-packages' in file}))\n"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    # What Databricks has, and what the packages of the job bring.
    there = {"numpy", "pandas", "py4j", "pyarrow", "pyspark", "typing_extensions"}
    brought = {"annotated_types", "pydantic", "pydantic_core", "typing_inspection"}
    names = {"dotenv": "python-dotenv", "yaml": "pyyaml"}
    imported = {
        names.get(name, name.replace("_", "-"))
        for name in asked.stdout.split()
        if name not in there | brought
    }
    job = (FILE.parent / "job.py").read_text()
    [listed] = re.findall(r"_INGESTION_IMPORTS = \((.*?)\)", job, re.S)
    assert imported == set(re.findall(r'"(.*?)"', listed))
