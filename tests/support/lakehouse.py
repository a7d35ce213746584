"""A lakehouse on a real engine, as tests, simulation and benchmarks drive it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil

from ingestion.bronze import interpreted
from ingestion.loads import Load, Loads, only_ingestion
from lakehouse import build, engine, maintenance
from lakehouse.build import BUILD, Dbt
from lakehouse.domains import State, states_of
from lakehouse.engine import local
from lakehouse.reading import ask
from lakehouse.settings import PROJECT, Settings, load_settings
from tests.support.domains import DOMAINS, File, selected


@dataclass
class Lakehouse:
    """One lakehouse, driven in this process, which builds its domains and no other."""

    settings: Settings
    domains: tuple[str, ...] = ("wearables",)

    def __post_init__(self) -> None:
        self._dbt = Dbt(self.settings)
        self._read: Path | None = None

    def deliver(self, table: str, name: str, content: bytes) -> None:
        path = self.settings.paths.inbox / table / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def deliver_files(self, files: Iterable[File]) -> None:
        for file in files:
            self.deliver(file.table, file.name, file.content)

    def build_half(self, files: list[File]) -> list[File]:
        """Takes in and builds the half of a story's files; returns the other half, drawn by lot."""
        held_back = random.Random(7).sample(files, len(files) // 2)
        self.deliver_files(file for file in files if file not in held_back)
        self.ingest()
        self.build_untested()
        return held_back

    def refused_files(self) -> list[str]:
        """The files in quarantine, `<source>.<table>/<name>`, sorted."""
        refused = self.rows(
            "select distinct concat(source, '/', name) as file from audit.files "
            "where status = 'quarantined' order by file"
        )
        return [row["file"] for row in refused]

    def ingest(self) -> Load | None:
        with self.loads() as loads:
            return loads.run()

    def accept(self, source: str) -> list[str]:
        with self.loads() as loads:
            return loads.accept(source)

    def forget_files(self) -> int:
        with self.loads() as loads:
            return loads.forget()

    def empty(self) -> None:
        """Leaves the lakehouse as if nothing had ever come; the engine stays up."""
        for schema in (*maintenance.SCHEMAS, "gold"):
            self.rows(f"drop schema if exists {schema} cascade")
        paths = self.settings.paths
        files = (paths.inbox, paths.landing, paths.archive, paths.quarantine)
        for folder in (*files, paths.checkpoints, paths.alerts):
            shutil.rmtree(folder, ignore_errors=True)
        (paths.root / "engine" / "tables").unlink(missing_ok=True)

    def maintain(self) -> None:
        """Upkeep which keeps nothing that nobody reads."""
        *_, failures = maintenance.maintain(self.settings, retain_hours=0)
        assert not failures

    @contextmanager
    def loads(self) -> Iterator[Loads]:
        with only_ingestion(self.settings.paths):
            session = local.session(self.settings)
            yield Loads(session, self.settings.paths, local.declared_tables())

    def build(self, *options: str) -> None:
        self.dbt(*BUILD, *self._selecting(options))

    def _selecting(self, options: tuple[str, ...]) -> tuple[str, ...]:
        """The options, and its domains unless they select something else."""
        return options if "--select" in options else (*options, *selected(*self.domains))

    def state(self, domain: str) -> State:
        """Where a domain stands; before dbt has begun to build it, nowhere."""
        states = states_of(local.session(self.settings))
        return states.get(domain, State(0, None, None))

    def dbt(self, *arguments: str) -> None:
        """On the project as it was at the first call: to read it each time takes a second."""
        if "--vars" in arguments:  # dbt did not see them on a project read before
            Dbt(self.settings)(*arguments)
            return
        if self._read != build.PROJECT:
            self._dbt.parse()
            self._read = build.PROJECT
        self._dbt(*arguments)

    def bare_dbt(self, *arguments: str) -> None:
        """As a user types it, in a process of its own."""
        answer = subprocess.run(
            [
                *(Path(sys.executable).with_name("dbt"), *arguments),
                *("--target-path", self.settings.paths.root / "bare"),
            ],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 0, answer.stdout

    def build_untested(self, *options: str) -> None:
        self.build("--exclude-resource-type", "test", *options)

    def kill_build(self, seconds: float, *options: str, engine_too: bool = False) -> bool:
        """Kills `dbt build`, or the engine under it, some time after its start, wherever it is.

        Returns:
            Whether it was still under way.
        """
        process = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("dbt"), "build", *self._selecting(options)),
                *("--target-path", self.settings.paths.root / "killed"),
            ],
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        is_under_way = process.poll() is None
        if engine_too:
            self.kill_engine()
        process.kill()
        process.wait()
        return is_under_way

    def kill_engine(self) -> None:
        if running := engine.running_engine(self.settings):
            os.kill(running.pid, signal.SIGKILL)
            while engine.running_engine(self.settings):
                time.sleep(0.1)

    @contextmanager
    def live(self) -> Iterator[subprocess.Popen[bytes]]:
        """`lakehouse run --every 1s` in a process of its own, from its first round on."""
        log = self.settings.paths.logs / "live-test.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    Path(sys.executable).with_name("lakehouse"),
                    "run",
                    "--every",
                    "1s",
                    "--build-every",
                    "1s",
                ],
                cwd=PROJECT,
                stdout=output,
                stderr=output,
            )
            try:
                wait_until(lambda: "A round every" in log.read_text() or process.poll(), 600)
                assert process.poll() is None, log.read_text()[-1000:]
                yield process
            finally:
                builds = psutil.Process(process.pid).children() if process.poll() is None else []
                process.kill()
                process.wait()
                # They end by themselves, and free their lock.
                assert not psutil.wait_procs(builds, 60)[1]

    def has_nothing_waiting(self) -> bool:
        return not any(path.is_file() for path in self.settings.paths.inbox.rglob("*"))

    def lose_commit(self, table: str = "**") -> None:
        """Leaves what a kill leaves after bronze's commit and before the checkpoint's."""
        for commits in sorted(self.settings.paths.checkpoints.glob(f"{table}/commits")):
            numbers = [int(path.name) for path in commits.iterdir() if path.name.isdigit()]
            for last in sorted(numbers)[-1:]:
                (commits / f"{last}").unlink()
                (commits / f".{last}.crc").unlink(missing_ok=True)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        session = local.session(self.settings)
        with interpreted(session, is_wanted=True):  # as tests ask it, each once
            rows: list[dict[str, Any]] = session.sql(sql).toArrow().to_pylist()
            return rows

    def records(self, sql: str) -> list[dict[str, Any]]:
        """Rows in values that JSON has, as pages get them."""
        columns, rows = ask(local.session(self.settings), sql)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def tables(self, *names: str) -> list[list[dict[str, Any]]]:
        """The rows of tables or views, of all in one statement."""
        of_each = (
            f"(select collect_list(struct(*)) from {name}) as _{number}"
            for number, name in enumerate(names)
        )
        [found] = self.rows(f"select {', '.join(of_each)}")
        return [rows or [] for rows in found.values()]

    def value(self, sql: str) -> Any:
        [row] = self.rows(sql)
        [value] = row.values()
        return value

    def has(self, table: str) -> bool:
        """Whether there is a table or a view of this name."""
        return bool(local.session(self.settings).catalog.tableExists(table))

    def num_unmatched_readings(self) -> int:
        """How many readings are of devices that nobody has registered."""
        found = "select sum(num_events) from audit.unmatched where entity = 'heart_rates'"
        return int(self.value(found) or 0)

    def gold(
        self, schema: str = "gold", marts: tuple[str, ...] = DOMAINS["wearables"].marts
    ) -> dict[str, list[dict[str, Any]]]:
        """Every mart's rows, plain and sorted."""
        found = self.tables(*(f"{schema}.{mart}" for mart in marts))
        return {mart: plain(rows) for mart, rows in zip(marts, found, strict=True)}

    def miscounts(
        self,
        expected: dict[str, Any],
        accepted: Mapping[str, str],
        rejects: tuple[str, ...] = ("audit.rejects",),
    ) -> list[str]:
        """Where events in, accepted or rejected are not as many as an answer says, a line each.

        Args:
            expected: The answer, with `entity_counts` and `table_counts`.
            accepted: By entity, the table of its accepted events.
            rejects: The tables of rejected events.
        """
        assert set(expected["entity_counts"]) - {"unknown"} == set(accepted)
        rejected = " union all ".join(f"select * from {table}" for table in rejects)
        counted = [
            (f"accepted {entity}", f"from {table}", expected["entity_counts"][entity]["accepted"])
            for entity, table in accepted.items()
        ]
        for entity, counts in expected["entity_counts"].items():
            for level in ("row", "field"):
                rows = f"from ({rejected}) where entity = '{entity}' and level = '{level}'"
                counted.append((f"{level} rejects of {entity}", rows, counts[f"{level}_rejects"]))
        for table, counts in expected["table_counts"].items():
            rows = f"from bronze.{table.replace('.', '_')}"
            counted.append((f"events in {table}", rows, counts["events_in"]))
        found = self.rows(
            " union all ".join(
                f"select '{what}' as what, {number} as expected, count(*) as found {rows}"
                for what, rows, number in counted
            )
        )
        return [
            f"{row['what']}: expected {row['expected']}, found {row['found']}"
            for row in found
            if row["found"] != row["expected"]
        ]

    def compiled(self, *select: str) -> dict[str, str]:
        """The SQL of models, as in a full build, by name."""
        folder = self.settings.paths.root / "target" / "compiled" / "lakehouse" / "models"
        shutil.rmtree(folder, ignore_errors=True)
        models = [f"{selector},resource_type:model" for selector in select]
        self.dbt("compile", "--full-refresh", "--select", *models)
        return {
            path.stem: path.read_text()
            for path in sorted(folder.rglob("*.sql"))
            if path.parent.suffix != ".yml"
        }

    def fingerprints(self, models: dict[str, str], *, ansi: bool) -> dict[str, dict[str, Any]]:
        """The number of each model's rows, and a hash of them that no order changes."""
        self.rows(f"set spark.sql.ansi.enabled = {str(ansi).lower()}")
        try:
            return {
                name: self.rows(
                    "select count(*) as n, bit_xor(xxhash64(to_json(struct(*)))) as hash "
                    f"from ({sql})"
                )[0]
                for name, sql in models.items()
            }
        finally:
            self.rows("reset spark.sql.ansi.enabled")


def run(
    lakehouse: Lakehouse, *arguments: str | Path, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """`lakehouse` as a user types it; unless told otherwise, it has to succeed."""
    answer = subprocess.run(
        [
            Path(sys.executable).with_name("lakehouse"),
            "--home",
            lakehouse.settings.paths.root,
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or answer.returncode == 0, answer.stderr + answer.stdout
    return answer


def wait_until(is_so: Callable[[], object], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows as the answers in plain Python have them, without technical columns, sorted."""
    cleaned = [
        {key: _plain(value) for key, value in row.items() if not key.startswith("_")}
        for row in rows
    ]
    return sorted(cleaned, key=repr)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    return value


@contextmanager
def home_of_its_own(home: Path) -> Iterator[Settings]:
    """Settings for a home, which the processes started meanwhile see; its engine ends with it."""
    before = os.environ.get("LAKEHOUSE_HOME")
    settings = load_settings(home)
    try:
        yield settings
    finally:
        engine.down(settings)
        if before is None:
            os.environ.pop("LAKEHOUSE_HOME", None)
        else:
            os.environ["LAKEHOUSE_HOME"] = before
