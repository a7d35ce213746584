"""What a change is compared with, and what of it is built; no engine is needed to tell."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from lakehouse import slim
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT
from lakehouse.slim import Slim, check_out, commit_of_main

SHOP = {
    "name": "shop",
    "profile": "lakehouse",
    "config-version": 2,
    "test-paths": ["tests"],
    "vars": {"least": 1, "domains": {"sales": ["least"], "stock": []}},
    "models": {"shop": {name: {"+meta": {"domain": name}} for name in ("sales", "stock")}},
}
FILES = {
    "dbt_project.yml": yaml.safe_dump(SHOP),
    "models/sales/orders.sql": "select 1 as amount",
    "models/sales/sums.sql": "select sum(amount) as total from {{ ref('orders') }}",
    "models/stock/items.sql": "select 1 as item",
    "tests/items__are_positive.sql": "select * from {{ ref('items') }} where item < 0",
    "generators/sales/story.py": "",
    "generators/stock/story.py": "",
    ".gitignore": ".lakehouse/",
}


def git(folder: Path, *arguments: str) -> str:
    person = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    return subprocess.run(
        ["git", *person, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture(autouse=True)
def _not_called_off() -> Iterator[None]:
    """Of the signal that ends others these tests hear nothing, unless they ask for it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small project on a branch, which begins at main's only commit."""
    monkeypatch.setenv("DBT_PROFILES_DIR", str(PROJECT))
    folder = tmp_path / "shop"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "as it was")
    git(folder, "checkout", "--quiet", "-b", "change")
    monkeypatch.setattr(slim, "PROJECT", folder)
    monkeypatch.setattr(slim, "WORK", folder / ".lakehouse" / "slim")
    return folder


def commit(shop: Path, name: str, text: str) -> None:
    (shop / name).write_text(text)
    git(shop, "add", ".")
    git(shop, "commit", "--quiet", "--message", name)


def test_a_change_begins_where_it_left_main(shop: Path, tmp_path: Path) -> None:
    began = git(shop, "rev-parse", "main")
    commit(shop, "models/sales/orders.sql", "select 2 as amount")
    git(shop, "checkout", "--quiet", "main")
    commit(shop, "models/stock/items.sql", "select 3 as item")
    git(shop, "checkout", "--quiet", "change")
    assert commit_of_main(shop, "main") == began
    check_out(shop, began, tmp_path / "main")
    read = {name: (tmp_path / "main" / name).read_text() for name in FILES}
    assert read == FILES


def test_what_cannot_be_compared_is_told(shop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LakehouseError, match=r"shares no commit with origin/main\. Fetch") as told:
        slim.main("origin/main")
    assert told.value.exit_code == 2
    capfd.readouterr()


def modified(shop: Path, tmp_path: Path) -> dict[str, str | None]:
    check_out(shop, "main", tmp_path / "main")
    found = Slim(shop, tmp_path / "main", tmp_path / "dbt", "slim_").modified()
    return {name.split(".", 2)[2]: domain for name, domain in found.items()}


def test_what_is_below_is_modified_too_and_a_test_is_of_the_domain_that_it_reads(
    shop: Path, tmp_path: Path
) -> None:
    (shop / "models/sales/orders.sql").write_text("select 2 as amount")
    (shop / "tests/items__are_positive.sql").write_text("select * from {{ ref('items') }}")
    expected = {"orders": "sales", "sums": "sales", "items__are_positive": "stock"}
    assert modified(shop, tmp_path) == expected


def test_another_value_of_a_var_modifies_the_domains_that_it_counts_for(
    shop: Path, tmp_path: Path
) -> None:
    changed = SHOP | {"vars": {**SHOP["vars"], "least": 2}}  # type: ignore[dict-item]
    (shop / "dbt_project.yml").write_text(yaml.safe_dump(changed))
    assert modified(shop, tmp_path) == {"orders": "sales", "sums": "sales"}


def test_a_change_of_nothing_that_dbt_builds_ends_with_a_line(
    shop: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    began = git(shop, "rev-parse", "main")
    commit(shop, "README.md", "A shop.")
    slim.main("main")
    told = "Since main ({}) the change modifies, with all below it: 0 nodes\n"
    assert capfd.readouterr().out == told.format(began[:12])
    assert not (shop / ".lakehouse" / "slim" / "home").exists()


STORY = "--late 0.05 --duplicates 0.05 --corrupt 0.001"
BUILT = ["dbt build", "dbt --quiet run-operation drop_slim"]
ALL_LOCAL = [
    *(f"lakehouse generate sales {STORY}", "lakehouse run --once", *BUILT, "lakehouse down")
]


def commands(
    shop: Path, monkeypatch: pytest.MonkeyPatch, end: Callable[[], None] = lambda: None
) -> list[str]:
    """The commands that are run of a change of `orders`, whose build is red; none does anything.

    Args:
        shop: The project.
        monkeypatch: Of the test.
        end: What comes in the middle of the build.
    """
    commit(shop, "models/sales/orders.sql", "select 2 as amount")
    ran: list[str] = []

    def run(project: Path, command: str, *arguments: str, is_read: bool = False) -> str:
        words = " ".join([command, *arguments])
        if command == "git":
            return real(project, command, *arguments, is_read=is_read)
        ran.append(words.split(" --state")[0].split(" --vars")[0])
        if words.startswith("dbt build"):
            assert "--defer --favor-state" in words
            end()
            raise LakehouseError("red")
        return ""

    real = slim.run
    monkeypatch.setattr(slim, "run", run)
    monkeypatch.setattr(Slim, "modified", lambda _: {"model.shop.orders": "sales"})
    return ran


@pytest.mark.parametrize("target", ["local", "databricks"])
def test_a_red_change_leaves_no_schema_and_no_engine_behind(
    shop: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setenv("LAKEHOUSE_TARGET", target)
    ran = commands(shop, monkeypatch)
    with pytest.raises(LakehouseError, match="The change is red"):
        slim.main("main")
    assert ran == (BUILT if target == "databricks" else ALL_LOCAL)


def test_neither_does_one_that_is_called_off(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = commands(shop, monkeypatch, lambda: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as end:
        slim.main("main")
    assert end.value.code == 143
    assert ran == ALL_LOCAL


def test_what_a_run_on_this_machine_has_left_is_nothing_to_databricks(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment has no command `lakehouse` that works."""
    (shop / ".lakehouse" / "slim" / "home").mkdir(parents=True)
    monkeypatch.setenv("LAKEHOUSE_TARGET", "databricks")
    ran = commands(shop, monkeypatch)
    with pytest.raises(LakehouseError, match="The change is red"):
        slim.main("main")
    assert ran == BUILT
