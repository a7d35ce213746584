"""Plays scenarios on a real engine and compares what comes out with plain Python."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from dataclasses import replace
from io import StringIO
from pathlib import PurePosixPath
from typing import Any

from pyspark.errors import PySparkException

from generators.kafka import Message
from ingestion.faults import LoadError, first_line
from lakehouse.build import BUILD_UNTESTED, TEST, Dbt
from lakehouse.domains import JOURNAL, UPKEEP, State, append_state
from lakehouse.engine import local
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT
from tests.simulation import scenario as of
from tests.simulation.database import Database
from tests.simulation.scenario import Scenario, Step, draw_steps
from tests.support.domains import DOMAINS, File, selected
from tests.support.kafka import Broker
from tests.support.lakehouse import Lakehouse, wait_until
from tests.support.postgres import Server

CHECKS = (
    "after each step what readers see = oracle of the published load, and live views = oracle of "
    "what bronze has, in the middle of a build too; in the end gold = oracle, "
    "events in = accepted + duplicates + rejects, building the last load again "
    "changes nothing and writes no row, full refresh changes nothing"
)

# The steps that show readers what is published, should a kill have come in between.
_ALIGN = (of.BUILD, of.BUILD_PART, of.FAILING_BUILD, of.REFRESH, of.LOAD_INSIDE, of.MAINTAIN)
_WRITTEN = ("numTargetRowsInserted", "numTargetRowsUpdated", "numTargetRowsDeleted")


def models_of(domain: str) -> tuple[str, ...]:
    """The models of a domain, staging left out."""
    folders = [PROJECT / "models" / layer / domain for layer in ("intermediate", "marts")]
    return tuple(sorted(path.stem for folder in folders for path in folder.glob("*.sql")))


def draw(seed: int, domain: str) -> Scenario:
    """The scenario of a seed."""
    dice = random.Random(f"{domain} {seed}")
    story = DOMAINS[domain].draw_story(dice)
    files = DOMAINS[domain].files(seed, story)
    changes = DOMAINS[domain].changes(seed, story)
    return Scenario(domain, seed, story, draw_steps(dice, len(files), models_of(domain), changes))


def check(scenario: Scenario) -> None:
    """Sees that a scenario can be played at all, without an engine.

    Raises:
        ValueError: It cannot; tells why.
    """
    if scenario.domain not in DOMAINS:
        raise ValueError(f"no domain is called {scenario.domain!r}")
    try:
        files = DOMAINS[scenario.domain].files(scenario.seed, scenario.story)
    except (TypeError, KeyError) as error:
        raise ValueError(f"the story cannot be told: {error}") from None
    models = models_of(scenario.domain)
    for step in scenario.steps:
        if step.do not in of.KINDS:
            raise ValueError(f"a step cannot be {step.do!r}")
        if wrong := [number for number in step.files if number not in range(len(files))]:
            raise ValueError(f"the story has {len(files)} files and none with number {wrong[0]}")
        if wrong := [model for model in step.models if model not in models]:
            raise ValueError(f"{scenario.domain} has no model {wrong[0]!r}")


class Play:
    """One scenario on a lakehouse, which is emptied first.

    Args:
        lakehouse: The lakehouse.
        scenario: The scenario.
        say: Told each step, and when it began.
        broker: Where some of the files are sent as messages; None: all come as files.
        server: The database that is pulled from; None: there is none.
    """

    def __init__(
        self,
        lakehouse: Lakehouse,
        scenario: Scenario,
        say: Callable[[str], None],
        broker: Broker | None = None,
        server: Server | None = None,
    ) -> None:
        self._lakehouse = lakehouse
        self._scenario = scenario
        self._domain = DOMAINS[scenario.domain]
        self._began = time.monotonic()
        self._say = lambda what: say(f"{time.monotonic() - self._began:6.0f} s  {what}")
        self._files = self._domain.files(scenario.seed, scenario.story)
        self._num_again = 0
        self._broker = broker
        # What says the files that are sent, by their numbers.
        self._messages = self._draw_messages() if broker else {}
        self._database = Database(server, self._domain.pulled) if server else None
        # What pulls have seen.
        self._pulled: list[File] = []
        self._is_built = False
        # The load that readers see, and what plain Python makes of all up to it.
        self._published: tuple[int, dict[str, Any]] | None = None
        # What plain Python makes of files, by their numbers.
        self._told: dict[frozenset[int], dict[str, Any]] = {}
        self._seen_inside: list[str] = []

    def differences(self) -> list[str]:
        """Plays it all; returns what is wrong in the end, a line each."""
        try:
            if found := self.steps():
                return found
            self._say("the checks")
            self._ingest()
            self.build()
            found = self.from_oracle() + self._from_live()
            self._take_back_built()
            before, began = self._gold(), time.time()
            self.build()
            found += self._changes("another build", before) + self._rewritten(began)
            self.build("--full-refresh")
            return found + self._changes("full refresh", before) + self._from_live()
        except (LakehouseError, LoadError, PySparkException, AssertionError) as error:
            return [f"it broke off, {type(error).__name__}: {first_line(error)}"]

    def _draw_messages(self) -> dict[int, list[Message]]:
        dice = random.Random(f"messages {self._scenario.domain} {self._scenario.seed}")
        # A file that is there twice counts once, as files alone.
        files = Counter((file.table, file.content) for file in self._files)
        drawn = {
            number: self._domain.messages[file.table][1](file)
            for number, file in enumerate(self._files)
            if dice.random() < 0.4
            and file.table in self._domain.messages
            and not file.is_refused
            and files[file.table, file.content] == 1
        }
        return {number: messages for number, messages in drawn.items() if messages}

    def _take_back_built(self) -> None:
        """Leaves what a kill before the end leaves: the next build reads the last load again.

        After upkeep all but the change feeds, of which it keeps what is yet to be read only.
        """
        last = self._state()
        earlier = self._lakehouse.rows(
            f"select built, state from {JOURNAL} where domain = '{self._scenario.domain}' "
            f"and built < {last.built} order by number desc limit 1"
        )
        built, told = 0, {}
        for row in earlier:
            built, told = row["built"], json.loads(row["state"])
        taken_back = {"is_being_written": True, "as_of": told.get("as_of")}
        if not self._has(of.MAINTAIN):
            taken_back["feeds"] = told.get("feeds", {})
        self._note(replace(last, built=built, details=last.details | taken_back))

    def _state(self) -> State:
        return self._lakehouse.state(self._scenario.domain)

    def _note(self, state: State) -> None:
        """Writes down that the domain stands there."""
        spark = local.session(self._lakehouse.settings)
        append_state(spark, self._scenario.domain, replace(state, number=state.number + 1), UPKEEP)

    def steps(self) -> list[str]:
        """Plays the steps alone, up to one after which readers see something wrong; tells what."""
        self._lakehouse.empty()
        if self._broker:
            self._broker.empty()
        if self._database:
            self._database.empty()
        are_aligned = True
        for step in self._scenario.steps:
            self._say(str(step))
            self._do(step)
            # A loop that is killed when it has published may leave the views to the next build.
            are_aligned = step.do in _ALIGN or (are_aligned and step.do != of.LIVE)
            found = self._seen_inside + self._from_live()
            if are_aligned:
                found += self._from_published()
            if found:
                return [f"{line} (after {step})" for line in found]
        return []

    def _do(self, step: Step) -> None:
        lakehouse = self._lakehouse
        match step.do:
            case of.DELIVER | of.AGAIN:
                for number in step.files:
                    self._deliver(number, is_again=step.do == of.AGAIN)
            case of.CHANGE | of.ACCEPT:
                self._do_to_database(step)
            case of.INGEST:
                self._ingest()
            case of.KILL_BUILD | of.KILL_ENGINE:
                self._kill(step)
            case of.LOSE_COMMIT:
                lakehouse.lose_commit()
            case of.LIVE:
                self._live(step)
            case of.LOAD_INSIDE:
                self._load_inside(step)
            case of.MAINTAIN:
                self._maintain()
            case _:
                self._do_to_what_is_built(step)

    def _do_to_database(self, step: Step) -> None:
        assert self._database, "there is no database"
        self._database.change(step.changes)
        for table in self._database.accept() if step.do == of.ACCEPT else ():
            self._say(f"which lets go {table}")
            self._lakehouse.accept(table)

    def _ingest(self) -> None:
        self._see()
        self._lakehouse.ingest()

    def _see(self) -> None:
        """Writes down what the pull sees that comes next."""
        if self._database:
            self._pulled += self._database.see(self._lakehouse.settings.paths.checkpoints)

    def _do_to_what_is_built(self, step: Step) -> None:
        match step.do:
            case _ if not self._is_built or step.do == of.BUILD:
                self.build()
            case of.FAILING_BUILD:
                self._fail()
            case of.TEST:
                self._test()
            case of.BUILD_PART:
                self.build(models=step.models)
            case of.REFRESH:
                self.build("--full-refresh", models=step.models)

    def _has(self, *kinds: str) -> bool:
        return any(step.do in kinds for step in self._scenario.steps)

    def _maintain(self) -> None:
        if self._has(of.KILL_BUILD, of.LIVE):
            self._lakehouse.kill_engine()  # a statement that goes on might lose what it has written
        self._lakehouse.maintain()

    def _fail(self) -> None:
        """A table in the middle refuses what is new to it."""
        table = self._domain.middle
        newest = self._lakehouse.value(f"select coalesce(max(_load_id), 0) from {table}")
        self._lakehouse.rows(
            f"alter table {table} add constraint as_it_was check (_load_id <= {newest})"
        )
        with suppress(LakehouseError), redirect_stderr(StringIO()):
            self.build()
            self._say("which had nothing to do there, so it did not fail")
        self._lakehouse.rows(f"alter table {table} drop constraint if exists as_it_was")

    def _kill(self, step: Step) -> None:
        options = [*BUILD_UNTESTED[1:], *selected(self._scenario.domain)]
        is_engine = step.do == of.KILL_ENGINE
        if not self._lakehouse.kill_build(step.seconds, *options, engine_too=is_engine):
            self._say("which came when the build had ended")

    def _live(self, step: Step) -> None:
        self._see()
        with self._lakehouse.live():
            for number in step.files:
                self._messages.pop(number, None)  # a round may begin between two messages
                self._deliver(number, is_again=False)
            wait_until(self._lakehouse.has_nothing_waiting)
            time.sleep(step.seconds)

    def _load_inside(self, step: Step) -> None:
        """A load that is closed between the begin and the end of a build is none of its own."""
        first = iter([True])  # dbt tells of several nodes at once, from threads of its own

        def hear(event: Any) -> None:
            if event.info.name == "LogStartLine" and next(first, False):
                for number in step.files:
                    self._deliver(number, is_again=False)
                self._ingest()
                self._seen_inside = [f"inside it, {line}" for line in self._from_live()]

        Dbt(self._lakehouse.settings, hear)(*BUILD_UNTESTED, *selected(self._scenario.domain))
        self._is_built = True

    def _test(self) -> None:
        """What is built whole is green, and published; a part may be red, and is not."""
        before = self._state()
        try:
            self._lakehouse.dbt(*TEST, *selected(self._scenario.domain))
        except LakehouseError:
            if not before.is_being_written:
                raise
            self._say("which is red")
        after = self._state()
        if before.is_being_written:
            assert (after.published, after.number) == (before.published, before.number)
        else:
            assert after.is_published

    def _deliver(self, number: int, *, is_again: bool) -> None:
        file = self._files[number]
        if self._broker and (messages := self._messages.get(number)):
            if not is_again:  # a message that comes twice is two events
                self._broker.send_messages(messages, file.full_name)
            return
        name = PurePosixPath(file.name)
        if is_again:
            self._num_again += 1
            name = name.with_name(f"again-{self._num_again}-{name.name}")
        self._lakehouse.deliver(file.table, str(name), file.content)

    def build(self, *options: str, models: tuple[str, ...] = ()) -> None:
        """Builds these models, or the domain."""
        asked = ("--select", *models) if models else selected(self._scenario.domain)
        self._lakehouse.dbt(*BUILD_UNTESTED, *options, *asked)
        self._is_built = self._is_built or not models

    def _gold(self) -> dict[str, list[dict[str, Any]]]:
        return self._lakehouse.gold("gold_build", self._domain.marts)

    def _changes(self, what: str, before: dict[str, list[dict[str, Any]]]) -> list[str]:
        after = self._gold()
        return [
            f"{mart}: {what} changes it, {first_difference(before[mart], after[mart])}"
            for mart in self._domain.marts
            if before[mart] != after[mart]
        ]

    def _rewritten(self, since: float) -> list[str]:
        """The tables into which a merge has written since, though nothing had changed.

        As their logs tell: to ask for the history of each takes half a second.

        Args:
            since: A moment, in epoch seconds.
        """
        found = []
        for commit in sorted(
            self._lakehouse.settings.paths.warehouse.glob("*/*/_delta_log/*.json")
        ):
            table, schema = commit.parent.parent.name, commit.parent.parent.parent.stem
            if schema not in ("silver", "gold_build") or commit.stat().st_mtime < since:
                continue
            for line in commit.read_text().splitlines():
                told = json.loads(line).get("commitInfo", {})
                metrics = told["operationMetrics"] if told.get("operation") == "MERGE" else {}
                if num_rows := sum(int(metrics.get(name, 0)) for name in _WRITTEN):
                    found.append(f"{schema}.{table}: another build writes {num_rows} rows anew")
        return found

    def from_oracle(self) -> list[str]:
        """In what the marts and the accounts differ from plain Python, a line each."""
        come = [self._files[number] for number in sorted(self._scenario.delivered())]
        expected = self._domain.answers([*come, *self._pulled])
        for number in self._messages.keys() & self._scenario.delivered():
            counts, file = expected["table_counts"], self._files[number]
            table, _ = self._domain.messages[file.table]
            counts[file.table]["events_in"] -= len(self._messages[number])
            counts.setdefault(table, {"events_in": 0})["events_in"] += len(self._messages[number])
        return self._unlike(expected, self._gold()) + self._lakehouse.miscounts(
            expected, self._domain.accepted, self._domain.rejects
        )

    def _from_published(self) -> list[str]:
        """In what readers see something else than plain Python makes of the published load."""
        state = self._state()
        if state.published is None:
            return []
        if self._published is None or self._published[0] != state.published:
            named = self._lakehouse.rows(
                "select distinct concat(source, '/', name) as name from audit.files "
                f"where load_id <= {state.published} union {self._sent(state.published)}"
            )
            self._published = state.published, self._answers({row["name"] for row in named})
        seen = self._lakehouse.gold("gold", self._domain.marts)
        return [f"readers' {line}" for line in self._unlike(self._published[1], seen)]

    def _from_live(self) -> list[str]:
        """In what live views show something else than plain Python makes of what bronze has."""
        views = tuple(view for view in self._domain.live if self._lakehouse.has(f"gold.{view}"))
        if not views:
            return []
        names = self._in_bronze()
        found = self._unlike(self._answers(names), self._lakehouse.gold("gold", views))
        if found and self._in_bronze() != names:  # a stream goes on though its loop is killed
            return self._from_live()
        return [f"live {line}" for line in found]

    def _in_bronze(self) -> set[str]:
        """The files of which bronze has rows, in closed loads or not."""
        tables = sorted({file.table for file in self._files})
        named = self._lakehouse.rows(
            " union ".join(
                [
                    *(
                        f"select concat('{table}/', _source_file) as name "
                        f"from bronze.{table.replace('.', '_')}"
                        for table in tables
                    ),
                    self._sent(),
                ]
            )
        )
        return {row["name"] for row in named}

    def _sent(self, up_to: int | None = None) -> str:
        """The query of the files whose messages bronze has, up to a load."""
        tables = {table for table, _ in self._domain.messages.values()}
        return " union ".join(
            f"select get_json_object(_headers, '$[0].value') as name "
            f"from bronze.{table.replace('.', '_')} where _headers is not null"
            + ("" if up_to is None else f" and _load_id <= {up_to}")
            for table in sorted(tables)
        )

    def _answers(self, names: set[str]) -> dict[str, Any]:
        """What plain Python makes of the files that came under these names."""
        names = {re.sub(r"again-\d+-(?=[^/]*$)", "", name) for name in names}
        files = [*self._files, *self._pulled]
        numbers = frozenset(
            number
            for number, file in enumerate(files)
            if file.full_name in names and not file.is_refused
        )
        if numbers not in self._told:
            self._told[numbers] = self._domain.answers(files[n] for n in sorted(numbers))
        return self._told[numbers]

    @staticmethod
    def _unlike(expected: dict[str, Any], gold: dict[str, list[dict[str, Any]]]) -> list[str]:
        found = []
        for mart, rows in gold.items():
            told = sorted(expected[mart], key=repr)
            columns = told[0].keys() if told else ()
            held = sorted(({key: row[key] for key in columns} for row in rows), key=repr)
            if held != told:
                found.append(f"{mart}: {first_difference(told, held)}")
        return found


def first_difference(expected: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    missing = [row for row in expected if row not in rows][:1]
    extra = [row for row in rows if row not in expected][:1]
    return f"expected {len(expected)} rows, found {len(rows)}; missing {missing}, extra {extra}"
