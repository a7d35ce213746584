"""Sessions end, on an engine of its own, which closes what is left alone for seconds.

And what dbt does where little or nothing is built, for which the same lakehouse will do.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pyspark.errors import PySparkException

from ingestion import bronze
from lakehouse.build import Dbt
from lakehouse.engine import local, process
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT
from tests.support.lakehouse import Lakehouse, home_of_its_own, wait_until

BIN = Path(sys.executable).parent
VISITS = b"mac_address,gym,login,logout\naa:bb:cc:dd:ee:01,1,1772000000,1772000600\n"
# How long a session lasts in which nothing is asked: longer than any statement of these tests, of
# which the engine takes no note while it works on it.
LASTS_SECONDS = 20
BRIEF = (
    f"spark.connect.session.manager.defaultSessionTimeout {LASTS_SECONDS}s\n"
    "spark.connect.session.manager.maintenanceInterval 1s\n"
)


@pytest.fixture(scope="module")
def brief(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lakehouse of which nothing is built."""
    conf = process.spark_conf
    with home_of_its_own(tmp_path_factory.mktemp("brief") / "home") as settings:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(process, "spark_conf", lambda *arguments: conf(*arguments) + BRIEF)
            local.start(settings)
        yield Lakehouse(settings)


def num_closed(lakehouse: Lakehouse) -> int:
    """How many of the sessions that all share have been closed."""
    local.session(lakehouse.settings)
    return bronze._sessions_closed[local.start(lakehouse.settings).identity]


def close_session(lakehouse: Lakehouse) -> None:
    """As the engine does it when a session's time is over."""
    session = local.session(lakehouse.settings)
    session.client.release_session()
    with pytest.raises(PySparkException, match="SESSION_CLOSED"):
        session.conf.get("spark.app.name")


def run(lakehouse: Lakehouse, *command: str) -> str:
    answer = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def test_a_session_that_was_left_alone_is_followed_by_another(brief: Lakehouse) -> None:
    before = num_closed(brief)
    first = local.session(brief.settings)
    assert local.session(brief.settings) is first
    time.sleep(LASTS_SECONDS + 5)
    second = local.session(brief.settings)
    assert second is not first
    assert second.session_id != first.session_id
    assert num_closed(brief) == before + 1
    assert local.session(brief.settings) is second


def test_what_reads_tables_that_are_not_built_ends_in_a_line(
    brief: Lakehouse, capfd: pytest.CaptureFixture[str]
) -> None:
    for command in ("test", "run", "build"):
        with pytest.raises(LakehouseError):
            brief.dbt(command, "--select", "gym_visits")
        told = capfd.readouterr().err
        assert "Not built yet: " in told
        assert ". Run: dbt build, or once data has come (" in told
        assert "\tat " not in told
    assert not list(brief.settings.paths.warehouse.glob("*/gym_visits"))


def test_defer_is_refused_where_it_would_write_among_the_tables(
    brief: Lakehouse, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    models = ("run", "--select", "+int_gym_logins")
    brief.deliver("sbit.gym_logins", "defer.csv", VISITS.replace(b"01,", b"07,"))
    brief.ingest()
    Dbt(brief.settings).parse()
    shutil.copy(brief.settings.paths.root / "target" / "manifest.json", tmp_path)
    with pytest.raises(LakehouseError):
        brief.dbt(*models, "--defer", "--state", str(tmp_path))
    assert "Give it schemas of its own: make slim" in capfd.readouterr().err
    assert brief.state("wearables").number == 0
    assert not list(brief.settings.paths.warehouse.glob("*/int_gym_logins"))
    brief.dbt(*models)
    state = brief.state("wearables")
    assert (state.built, state.published, state.is_being_written) == (None, None, True)
    assert "int_gym_logins" in state.pending


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["lakehouse", "query", "select 1 as one"], id="query"),
        pytest.param(["lakehouse", "status"], id="status", marks=pytest.mark.deep),
        pytest.param(["lakehouse", "ingest"], id="ingest", marks=pytest.mark.deep),
        pytest.param(["lakehouse", "maintain"], id="maintain", marks=pytest.mark.deep),
        pytest.param(["dbt", "seed", "--select", "age_bands"], id="dbt"),
        pytest.param(["lakehouse", "run"], id="run", marks=pytest.mark.deep),
    ],
)
def test_every_command_works_after_a_pause(brief: Lakehouse, command: list[str]) -> None:
    brief.deliver("sbit.gym_logins", f"{'-'.join(command)}.csv", VISITS + b"\n" * len(command))
    # It is told of the declared tables anew, for which dbt's start asks the engine.
    (brief.settings.paths.root / "engine" / "tables").unlink(missing_ok=True)
    close_session(brief)
    run(brief, *command)


def test_streams_left_running_are_seen_until_their_session_ends(brief: Lakehouse) -> None:
    tasks = Path(f"/proc/{local.start(brief.settings).pid}/task")

    def name_of(task: Path) -> str:
        try:
            return (task / "comm").read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has ended since it was listed
            return ""

    def is_streaming() -> bool:
        return any("stream exec" in name_of(task) for task in tasks.iterdir())

    rows = local.session(brief.settings).readStream.format("rate").load()
    query = rows.writeStream.format("noop").queryName("left").start()
    bronze._session_of.clear()  # another process has none yet
    [seen] = local.session(brief.settings).streams.active
    assert seen.id == query.id
    assert is_streaming()
    close_session(brief)
    assert local.session(brief.settings).streams.active == []
    wait_until(lambda: not is_streaming())


@contextmanager
def loop(lakehouse: Lakehouse, *command: str) -> Iterator[Path]:
    """`lakehouse`, in a process of its own, and its words."""
    log = lakehouse.settings.paths.logs / "loop.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [BIN / "lakehouse", *command], cwd=PROJECT, stdout=output, stderr=output
        )
        try:
            wait_until(
                lambda: "A round every" in log.read_text() or process.poll() is not None, 600
            )
            yield log
            assert process.poll() is None, log.read_text()
        finally:
            process.kill()
            process.wait()


def test_a_loop_works_after_a_pause(brief: Lakehouse) -> None:
    brief.ingest()  # what the tests before have left
    before = num_closed(brief)
    with loop(brief, "ingest", "--every", "1s") as log:

        def deliver(name: str, content: bytes) -> None:
            rounds = log.read_text().count(": rows 1, ")
            brief.deliver("sbit.gym_logins", name, content)
            # Not by a question, which would keep the session from its end.
            wait_until(lambda: log.read_text().count(": rows 1, ") > rounds)

        deliver("first.csv", VISITS.replace(b"01,", b"02,"))
        time.sleep(LASTS_SECONDS + 5)
        deliver("second.csv", VISITS.replace(b"01,", b"03,"))
        assert num_closed(brief) > before
    rows = brief.rows("select right(mac_address, 2) as last from bronze.sbit_gym_logins")
    assert {row["last"] for row in rows} >= {"02", "03"}
