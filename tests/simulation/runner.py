"""Plays scenarios on a real engine and compares what comes out with plain Python."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import PurePosixPath
from typing import Any

from pyspark.errors import PySparkException

from ingestion.loads import LoadError
from ingestion.lock import LockedError
from lakehouse.build import BUILD_UNTESTED
from lakehouse.errors import LakehouseError
from lakehouse.local import only_build
from lakehouse.settings import PROJECT
from tests.integration.conftest import House, wait_until
from tests.simulation import scenario as of
from tests.simulation.domains import DOMAINS
from tests.simulation.scenario import Scenario, Step, draw_steps

CHECKS = (
    "gold = oracle, events in = accepted + duplicates + rejects, building the last load again "
    "changes nothing, full refresh changes nothing"
)


def models_of(domain: str) -> tuple[str, ...]:
    """The models of a domain, staging left out."""
    folders = [PROJECT / "models" / layer / domain for layer in ("intermediate", "marts")]
    return tuple(sorted(path.stem for folder in folders for path in folder.glob("*.sql")))


def draw(seed: int, domain: str) -> Scenario:
    """The scenario of a seed."""
    dice = random.Random(f"{domain} {seed}")
    story = DOMAINS[domain].draw_story(dice)
    files = DOMAINS[domain].files(seed, story)
    return Scenario(domain, seed, story, draw_steps(dice, len(files), models_of(domain)))


class Play:
    """One scenario on a lakehouse, which is emptied first.

    Args:
        house: The lakehouse.
        scenario: The scenario.
        say: Told each step.
    """

    def __init__(self, house: House, scenario: Scenario, say: Callable[[str], None]) -> None:
        self._house = house
        self._scenario = scenario
        self._domain = DOMAINS[scenario.domain]
        self._say = say
        self._files = self._domain.files(scenario.seed, scenario.story)
        self._num_again = 0
        self._is_built = False

    def differences(self) -> list[str]:
        """Plays it all; returns what is wrong in the end, a line each."""
        try:
            self.steps()
            self._house.ingest()
            self.build()
        except (LakehouseError, LoadError, PySparkException, AssertionError) as error:
            return [f"it broke off: {error}"]
        found = self.from_oracle()
        if not any(step.do == of.MAINTAIN for step in self._scenario.steps):
            self._lose_last_watermarks()
        return [*found, *self._after("another build"), *self._after("full refresh")]

    def _lose_last_watermarks(self) -> None:
        """Leaves what a kill before the end leaves: the next build reads the last load again.

        Not after upkeep, which removes what only watermarks that are gone would read.
        """
        last = self._house.value("select max(load_id) from audit.watermarks")
        self._house.rows(f"delete from audit.watermarks where load_id = {last}")

    def steps(self) -> None:
        """Plays the steps alone."""
        self._house.empty()
        for step in self._scenario.steps:
            self._say(f"  {step}")
            self._do(step)

    def _do(self, step: Step) -> None:
        house = self._house
        match step.do:
            case of.DELIVER | of.AGAIN:
                for number in step.files:
                    self._deliver(number, is_again=step.do == of.AGAIN)
            case of.INGEST:
                house.ingest()
            case of.KILL_BUILD | of.KILL_ENGINE:
                options = [*BUILD_UNTESTED[1:], "--select", *self._domain.selectors]
                house.kill_build(step.seconds, *options, engine_too=step.do == of.KILL_ENGINE)
            case of.LOSE_COMMIT:
                for folder in sorted(house.settings.paths.checkpoints.glob("*/commits")):
                    house.lose_commit(folder.parent.name)
            case of.LIVE:
                self._live(step)
            case of.MAINTAIN:
                house.kill_engine()  # a killed build's statement might lose what it has written
                house.maintain()
            case of.FAILING_BUILD:
                bad_var = json.dumps({self._domain.bad_var: "no_such_column"})
                with suppress(LakehouseError), redirect_stderr(StringIO()):
                    self.build("--vars", bad_var)
            case _ if not self._is_built or step.do == of.BUILD:
                self.build()
            case of.BUILD_PART:
                self.build(models=step.models)
            case of.REFRESH:
                self.build("--full-refresh", models=step.models)

    def _live(self, step: Step) -> None:
        with self._house.live():
            for number in step.files:
                self._deliver(number, is_again=False)
            wait_until(self._house.has_nothing_waiting)
            time.sleep(step.seconds)
        wait_until(self._may_build)

    def _may_build(self) -> bool:
        """Whether the builds that a killed loop had begun have ended."""
        with suppress(LockedError), only_build(self._house.settings):
            return True
        return False

    def _deliver(self, number: int, *, is_again: bool) -> None:
        file = self._files[number]
        name = PurePosixPath(file.name)
        if is_again:
            self._num_again += 1
            name = name.with_name(f"again-{self._num_again}-{name.name}")
        self._house.deliver(file.table, str(name), file.content)

    def build(self, *options: str, models: tuple[str, ...] = ()) -> None:
        """Builds these models, or the domain."""
        selected = models or self._domain.selectors
        self._house.dbt(*(*BUILD_UNTESTED, *options, "--select", *selected))
        self._is_built = self._is_built or not models

    def _gold(self) -> dict[str, list[dict[str, Any]]]:
        return self._house.gold("gold_build", self._domain.marts)

    def _after(self, what: str) -> list[str]:
        before = self._gold()
        self.build(*(["--full-refresh"] if what == "full refresh" else []))
        after = self._gold()
        return [
            f"{mart}: {what} changes it, {first_difference(before[mart], after[mart])}"
            for mart in self._domain.marts
            if before[mart] != after[mart]
        ]

    def from_oracle(self) -> list[str]:
        """In what the marts and the accounts differ from plain Python, a line each."""
        come = [self._files[number] for number in sorted(self._scenario.delivered())]
        expected = self._domain.answers(file for file in come if not file.is_refused)
        found = []
        for mart, rows in self._gold().items():
            told = sorted(expected[mart], key=repr)
            columns = told[0].keys() if told else ()
            held = sorted(({key: row[key] for key in columns} for row in rows), key=repr)
            if held != told:
                found.append(f"{mart}: {first_difference(told, held)}")
        for entity, (table, view) in self._domain.accepted.items():
            counts = expected["entity_counts"][entity]
            for what, sql in (
                ("accepted", f"select count(*) from silver.{table}"),
                ("row_rejects", f"select count_if(reject_reason is not null) from silver.{view}"),
                ("events_in", f"select count(*) from silver.{view}"),
            ):
                if (value := self._house.value(sql)) != counts[what]:
                    found.append(f"{entity}: {what} {value}, expected {counts[what]}")
        return found


def first_difference(expected: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    missing = [row for row in expected if row not in rows][:1]
    extra = [row for row in rows if row not in expected][:1]
    return f"expected {len(expected)} rows, found {len(rows)}; missing {missing}, extra {extra}"
