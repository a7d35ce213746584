"""The engine: one a home, on the loopback address alone, started by whatever needs it.

These tests come first, while no other has started the engine: they stop it, and a cold one is slow.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lakehouse import engine
from lakehouse.domains import append_state
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, Settings
from tests.support.lakehouse import Lakehouse

LAKEHOUSE = Path(sys.executable).with_name("lakehouse")


def test_a_bare_dbt_command_starts_the_engine_and_an_empty_home_builds(
    lakehouse: Lakehouse,
) -> None:
    engine.down(lakehouse.settings)
    assert engine.running_engine(lakehouse.settings) is None
    lakehouse.bare_dbt("build")  # with every test that the project has, also those of models
    assert engine.running_engine(lakehouse.settings) is not None
    marts = ("workout_bpm_summary", "workout_bpm_curve", "gym_summary", "gym_visits")
    nothing: dict[str, list[object]] = {mart: [] for mart in marts}
    assert lakehouse.gold("gold_build") == nothing


def test_what_is_as_it_should_be_is_not_made_anew(lakehouse: Lakehouse) -> None:
    def made_at(view: str) -> str:
        rows = lakehouse.rows(f"describe table extended {view}")
        return next(row["data_type"] for row in rows if row["col_name"] == "Created Time")

    view, seed = "silver.dim_users_current", "silver.age_bands"
    [last] = lakehouse.rows(f"describe history {seed} limit 1")
    made = made_at(view)
    lakehouse.dbt("build", "--select", "dim_users_current", "age_bands")
    assert made_at(view) == made  # altered: a reader finds it at any moment
    assert lakehouse.rows(f"describe history {seed} limit 1") == [last]


def test_a_seed_whose_load_was_killed_is_loaded_again(lakehouse: Lakehouse) -> None:
    """As a kill between its creation and its rows leaves it; the next build does not select it."""
    csv = (PROJECT / "seeds" / "wearables" / "age_bands.csv").read_text()
    rows = "select count(*) from silver.age_bands"
    told = lakehouse.state("wearables")
    begun = {"is_being_written": True, "pending": ["age_bands", "workout_bpm_summary"]}
    append_state(
        local.session(lakehouse.settings),
        "wearables",
        replace(told, number=told.number + 1, details=told.details | begun),
        "a test",
    )
    lakehouse.rows("delete from silver.age_bands")
    lakehouse.build_untested("--select", "workout_bpm_summary")
    assert lakehouse.value(rows) == 0
    assert lakehouse.state("wearables").pending == begun["pending"]
    lakehouse.build_untested()
    assert lakehouse.value(rows) == len(csv.splitlines()) - 1
    assert lakehouse.state("wearables").pending == []


def test_small_work_is_interpreted(lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    def told() -> str:
        asked = "{{ run_query('set spark.sql.codegen.wholeStage').rows[0][1] if execute }}"
        lakehouse.dbt("compile", "--inline", f"select '{asked}' as told")
        compiled = lakehouse.settings.paths.root / "target" / "compiled" / "lakehouse"
        [query] = compiled.rglob("inline_query*")
        return str(lakehouse.value(query.read_text()))

    monkeypatch.delenv("LAKEHOUSE_INTERPRETS", raising=False)
    assert told() == "true"
    monkeypatch.setenv("LAKEHOUSE_INTERPRETS", "1")
    assert told() == "false"


def test_a_second_start_finds_the_first(lakehouse: Lakehouse) -> None:
    first = local.start(lakehouse.settings)
    assert local.start(lakehouse.settings) == first
    assert engine.up(lakehouse.settings) == first


def test_a_second_engine_on_the_same_home_refuses_and_names_the_holder(
    lakehouse: Lakehouse,
) -> None:
    first = local.start(lakehouse.settings)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        impatient = Settings(home=lakehouse.settings.home, start_seconds=3)
        record = lakehouse.settings.paths.root / "engine" / "engine.json"
        text = record.read_text()
        record.write_text(re.sub(r'_port": \d+', '_port": 1', text))
        with pytest.raises(LakehouseError, match=f"held by process {first.pid} since"):
            engine.up(impatient)
        record.write_text(text)
    finally:
        os.kill(first.pid, signal.SIGCONT)


def test_the_engine_listens_on_the_loopback_address_alone(lakehouse: Lakehouse) -> None:
    if shutil.which("ss") is None and os.environ.get("CI") != "true":
        pytest.skip("ss (iproute2), which lists open ports, is not installed")
    running = local.start(lakehouse.settings)
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    addresses = [
        line.split()[3] for line in listening.splitlines() if f"pid={running.pid}," in line
    ]
    assert any(address.endswith(f":{running.thrift_port}") for address in addresses)
    assert all("127.0.0.1" in address or "[::1]" in address for address in addresses), addresses


def test_a_second_build_at_the_same_time_refuses(lakehouse: Lakehouse) -> None:
    with (
        local.only_build(lakehouse.settings),
        pytest.raises(AssertionError, match=f"Process {os.getpid()} builds this lakehouse"),
    ):
        lakehouse.bare_dbt("build", "--select", "age_bands")
    lakehouse.build("--select", "age_bands")


def test_hive_can_close_any_session(lakehouse: Lakehouse) -> None:
    """Pip's pyspark lacks a class that Hive needs when it closes a session in a certain state."""
    registry = "org.apache.hadoop.hive.ql.exec.FunctionRegistry"
    assert registry in lakehouse.value(
        f"select reflect('java.lang.Class', 'forName', '{registry}')"
    )


def test_a_taken_port_is_named_with_its_cure(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        settings = Settings(home=tmp_path, thrift_port=other.getsockname()[1])
        with pytest.raises(LakehouseError, match="is taken by another program"):
            engine.up(settings)


def test_ctrl_c_ends_a_build_after_the_statements_under_way(lakehouse: Lakehouse) -> None:
    lakehouse.deliver("sbit.gym_logins", "one.csv", b"mac_address,gym,login,logout\nx,1,2,3\n")
    process = subprocess.Popen(
        [LAKEHOUSE, "run", "--once"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=PROJECT,
    )
    log = lakehouse.settings.paths.logs / "dbt" / "dbt.log"
    size = log.stat().st_size if log.exists() else 0
    while b"On model" not in (log.read_bytes()[size:] if log.exists() else b""):
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Interrupted. Run it again." in said
    assert "Traceback" not in said


@pytest.mark.ends_engine
def test_a_killed_engines_lock_frees_itself(lakehouse: Lakehouse) -> None:
    first = local.start(lakehouse.settings)
    os.kill(first.pid, signal.SIGKILL)
    while engine.running_engine(lakehouse.settings):
        time.sleep(0.1)
    second = local.start(lakehouse.settings)
    assert second.pid != first.pid


@pytest.mark.ends_engine
def test_down_says_whether_there_was_an_engine(lakehouse: Lakehouse) -> None:
    local.start(lakehouse.settings)
    assert engine.down(lakehouse.settings) is True
    assert engine.down(lakehouse.settings) is False
