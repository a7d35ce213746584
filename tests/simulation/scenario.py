"""Scenarios: what happens to a lakehouse, as data that a seed draws and a file can hold.

A scenario is a story, which is a domain's files, and steps: which of the files are delivered when,
and what is done with the lakehouse in between. It is drawn from its seed alone, without an engine.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

# What a step does. `deliver`, `deliver again` and `live` are of files, `build part` and `refresh`
# of models, `change the database` is of statements; `kill build` and `kill engine` come some
# seconds after a build has begun, and `live`, the live loop, is killed some seconds after the files
# have landed; the files of `load in a build` come and are taken in when its first node begins;
# `accept` lets go what has stopped the pulls of a table.
DELIVER, AGAIN, INGEST = "deliver", "deliver again", "ingest"
BUILD, BUILD_PART, FAILING_BUILD, REFRESH = "build", "build part", "failing build", "refresh"
KILL_BUILD, KILL_ENGINE, LOSE_COMMIT = "kill build", "kill engine", "lose commit"
LIVE, MAINTAIN, TEST, LOAD_INSIDE = "live", "maintain", "test", "load in a build"
CHANGE, ACCEPT = "change the database", "accept"
KINDS = frozenset(
    {DELIVER, AGAIN, INGEST, BUILD, BUILD_PART, FAILING_BUILD, REFRESH}
    | {KILL_BUILD, KILL_ENGINE, LOSE_COMMIT, LIVE, MAINTAIN, TEST, LOAD_INSIDE, CHANGE, ACCEPT}
)

_MOST_BATCHES = 5
# How likely each way is to follow an ingestion, in parts.
_WAYS = {
    BUILD: 5,
    BUILD_PART: 3,
    REFRESH: 1,
    FAILING_BUILD: 1,
    KILL_BUILD: 1,
    KILL_ENGINE: 1,
    LOSE_COMMIT: 1,
    LIVE: 1,
    LOAD_INSIDE: 1,
    MAINTAIN: 1,
    "": 4,
}


@dataclass(frozen=True)
class Step:
    """One thing that happens.

    Attributes:
        do: What; one of the constants of this module.
        files: The files of it, numbers in the order of the story.
        models: The models of it.
        seconds: When the kill comes.
        changes: The SQL statements of it.
    """

    do: str
    files: tuple[int, ...] = ()
    models: tuple[str, ...] = ()
    seconds: float = 0
    changes: tuple[str, ...] = ()

    def __str__(self) -> str:
        details = [f"{len(self.files)} files"] if self.files else list(self.models)
        details += [f"by {len(self.changes)} statements"] if self.changes else []
        details += [f"after {self.seconds:g} s"] if self.seconds else []
        return " ".join([self.do, *details])


@dataclass(frozen=True)
class Scenario:
    """A story and what happens to it; in the end all is ingested, built and compared.

    Attributes:
        domain: The name of the domain.
        seed: The seed of the story and, if it was drawn, of the steps.
        story: The arguments of the domain's generator.
        steps: What happens, in this order.
    """

    domain: str
    seed: int
    story: dict[str, float]
    steps: tuple[Step, ...]

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1) + "\n"

    @staticmethod
    def from_json(text: str) -> Scenario:
        """Reads what `to_json` has written.

        Raises:
            ValueError: The text holds no scenario.
        """
        try:
            told = json.loads(text)
            steps = tuple(
                Step(**step | {key: tuple(step[key]) for key in ("files", "models", "changes")})
                for step in ({"changes": ()} | step for step in told["steps"])  # as of old
            )
            return Scenario(str(told["domain"]), int(told["seed"]), dict(told["story"]), steps)
        except (KeyError, TypeError) as error:
            raise ValueError(f"it lacks or has too much: {error}") from None

    def delivered(self) -> set[int]:
        """The files that come at all."""
        return {file for step in self.steps for file in step.files}


def draw_steps(
    dice: random.Random,
    num_files: int,
    models: tuple[str, ...],
    changes: Sequence[tuple[str, ...]] = (),
) -> tuple[Step, ...]:
    """Every file in one of some batches, in any order, and what may happen after each batch.

    Args:
        dice: Where the randomness comes from.
        num_files: How many files the story has.
        models: The incremental models of the domain.
        changes: What may happen to its database; nothing where it has none.
    """
    order = dice.sample(range(num_files), num_files)
    cuts = sorted(dice.sample(range(num_files + 1), min(num_files, dice.randint(1, _MOST_BATCHES))))
    steps: list[Step] = []
    come: list[int] = []
    for first, last in zip([0, *cuts], [*cuts, num_files], strict=True):
        batch = tuple(sorted(order[first:last]))
        come += batch
        if changes and dice.random() < 0.8:
            steps.append(Step(CHANGE, changes=dice.choice(changes)))
        if changes and dice.random() < 0.5:
            steps.append(Step(ACCEPT))
        [way] = dice.choices(list(_WAYS), list(_WAYS.values()))
        if way == LIVE and batch:
            steps.append(Step(LIVE, files=batch, seconds=round(dice.uniform(0, 10), 1)))
            continue
        if way == LOAD_INSIDE and batch:
            steps.append(Step(LOAD_INSIDE, files=batch))
            continue
        steps.append(Step(DELIVER, files=batch))
        if come and dice.random() < 0.4:
            again = dice.sample(come, dice.randint(1, min(len(come), 8)))
            steps.append(Step(AGAIN, files=tuple(sorted(again))))
        steps.append(Step(INGEST))
        if way in (BUILD_PART, REFRESH):
            most = len(models) if way == BUILD_PART else 2
            some = dice.sample(models, dice.randint(1, most))
            steps.append(Step(way, models=tuple(sorted(some))))
        elif way in (KILL_BUILD, KILL_ENGINE):
            steps.append(Step(way, seconds=round(dice.uniform(3, 20), 1)))
        elif way and way not in (LIVE, LOAD_INSIDE):
            steps.append(Step(way))
        if dice.random() < 0.4:
            steps.append(Step(TEST))
    return tuple(step for step in steps if step.do != DELIVER or step.files)


def smaller(scenario: Scenario) -> Iterator[Scenario]:
    """Scenarios that leave out half of the steps, a step, half of a step's files or changes."""
    steps = scenario.steps
    size = len(steps) // 2
    while size:
        for begin in range(0, len(steps), size):
            yield replace(scenario, steps=steps[:begin] + steps[begin + size :])
        size //= 2
    for number, step in enumerate(steps):
        for name in ("files", "changes"):
            all_of_it = getattr(step, name)
            half = len(all_of_it) // 2
            for some in (all_of_it[:half], all_of_it[half:]) if half else ():
                fewer = replace(step, **{name: some})
                yield replace(scenario, steps=(*steps[:number], fewer, *steps[number + 1 :]))


def shrink(scenario: Scenario, fails: Callable[[Scenario], bool], most_runs: int = 50) -> Scenario:
    """The smallest scenario found that fails as well.

    Args:
        scenario: One that fails.
        fails: Runs a scenario.
        most_runs: How often it is run at most.
    """
    runs = 0
    is_smaller = True
    while is_smaller:
        is_smaller = False
        for candidate in smaller(scenario):
            if runs == most_runs:
                return scenario
            runs += 1
            if fails(candidate):
                scenario, is_smaller = candidate, True
                break
    return scenario
