"""`lakehouse alerts` on a real engine, on views of `gold` that are made by hand."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from typing import IO

import pytest

from lakehouse import engine
from lakehouse.engine import local
from tests.support.lakehouse import Lakehouse, run


def show(lakehouse: Lakehouse, view: str, **columns: str) -> None:
    """Makes a view of a row; the values are SQL."""
    row = ", ".join(f"{value} as {column}" for column, value in columns.items())
    lakehouse.rows("create schema if not exists gold")
    lakehouse.rows(f"create or replace view gold.{view} as select {row}")


def show_stock(lakehouse: Lakehouse, minute: int, *, is_low: bool, product: int = 12) -> None:
    show(
        lakehouse,
        "stock_status",
        **{"product_id": f"{product}L", "warehouse": "'norð'", "as_of": moment(minute)},
        **{"on_hand": "3L", "reorder_point": "5L", "is_low": f"{is_low}", "days_of_cover": "0.5D"},
    )


def moment(minute: int) -> str:
    return f"timestamp '2026-11-30 10:{minute:02}:00'"


@contextmanager
def following(lakehouse: Lakehouse) -> Iterator[subprocess.Popen[str]]:
    """`lakehouse alerts --follow --json` as a user types it; killed at the end."""
    home = lakehouse.settings.paths.root
    process = subprocess.Popen(
        [
            Path(sys.executable).with_name("lakehouse"),
            *("--home", home, "alerts", "--follow", "--json"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def next_told(process: subprocess.Popen[str]) -> tuple[str, str]:
    assert process.stdout
    record = json.loads(next_line(process, process.stdout))
    return record["event"], record["id"]


def wait_until_noted(lakehouse: Lakehouse) -> None:
    """Returns when what has been told is noted as told, which a kill at once would keep it from."""
    state, until = lakehouse.settings.paths.alerts / "told.json", time.monotonic() + 120
    while json.loads(state.read_text())["untold"]:
        assert time.monotonic() < until
        time.sleep(0.01)


def said(process: subprocess.Popen[str]) -> str:
    """What it says of its looks, but that of a view that is not there, whenever it looks first."""
    assert process.stderr
    line = next_line(process, process.stderr)
    return said(process) if " is not built yet: " in line else line


def next_line(process: subprocess.Popen[str], lines: IO[str]) -> str:
    """Its next line; empty where none comes for two minutes, which ends the process."""
    patience = Timer(120, process.kill)
    patience.start()
    try:
        return lines.readline()
    finally:
        patience.cancel()


def test_where_nothing_is_built_there_is_no_answer(lakehouse: Lakehouse) -> None:
    local.start(lakehouse.settings)
    answer = run(lakehouse, "alerts", check=False)
    assert answer.returncode == 1
    assert answer.stderr == (
        "Asking what needs somebody ...\n"
        "Error: Nothing is built that could alert: neither gold.stock_status nor "
        "gold.server_status is there. Once data has come (lakehouse land, lakehouse generate): "
        "lakehouse run\n"
    )


def test_what_needs_somebody_now(lakehouse: Lakehouse) -> None:
    show_stock(lakehouse, 0, is_low=False)
    assert run(lakehouse, "alerts").stderr.endswith("\nNothing needs anybody.\n")
    show_stock(lakehouse, 1, is_low=True)
    assert json.loads(run(lakehouse, "alerts", "--json").stdout) == {
        **{"kind": "low_stock", "product_id": 12, "warehouse": "norð", "on_hand": 3},
        **{"reorder_point": 5, "days_of_cover": 0.5, "as_of": "2026-11-30T10:01:00Z"},
    }


def test_a_follower_that_is_killed_goes_on(lakehouse: Lakehouse) -> None:
    show_stock(lakehouse, 1, is_low=True)
    with following(lakehouse) as process:
        first = "low_stock/12/norð/2026-11-30T10:01:00Z"
        assert next_told(process) == ("opened", first)
    show_stock(lakehouse, 9, is_low=False)
    lakehouse.rows(
        "create or replace view gold.inventory_alerts as select 12L as product_id, 'norð' as "
        "warehouse, 0L as on_hand, 5L as reorder_point, 0D as days_of_cover, * from values "
        f"({moment(0)}, {moment(2)}), ({moment(3)}, {moment(4)}) as alerts (opened_at, closed_at)"
    )
    with following(lakehouse) as process:
        missed = "low_stock/12/norð/2026-11-30T10:03:00Z"
        told = next_told(process)
        if told == ("opened", first):  # it was killed before it had noted what it told
            told = next_told(process)
        assert told == ("closed", first)
        assert [next_told(process) for _ in range(2)] == [("opened", missed), ("closed", missed)]
        wait_until_noted(lakehouse)  # or the next follower tells it once more


@pytest.mark.ends_engine
def test_a_follower_awaits_an_engine_that_is_down(lakehouse: Lakehouse) -> None:
    show_stock(lakehouse, 10, is_low=True, product=20)
    with following(lakehouse) as process:
        first = "low_stock/20/norð/2026-11-30T10:10:00Z"
        assert next_told(process) == ("opened", first)
        engine.down(lakehouse.settings)
        for title in ("Low stock", "Overloaded server"):
            assert said(process).startswith(f"{title} is not known for now: ")
        assert engine.running_engine(lakehouse.settings) is None
        local.start(lakehouse.settings)
        for title in ("Low stock", "Overloaded server"):
            assert said(process) == f"{title} is known again.\n"
        show_stock(lakehouse, 11, is_low=False, product=20)
        assert next_told(process) == ("closed", first)
