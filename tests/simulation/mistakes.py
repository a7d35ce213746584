"""Mistakes of the field, planted into a copy of the project, which the simulation has to notice."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from lakehouse.settings import PROJECT
from tests.simulation import scenario as of
from tests.simulation.runner import models_of
from tests.simulation.scenario import Step

_PARTS = ("dbt_project.yml", "profiles.yml", "macros", "models", "seeds", "snapshots", "tests/dbt")


class Mistake(NamedTuple):
    """A text of the project and what stands there instead."""

    path: str
    right: str
    wrong: str


MISTAKES = {
    "a watermark on event time": Mistake(
        "models/intermediate/wearables/int_readings.sql",
        "    where reject_reason is null\n",
        "    where reject_reason is null\n"
        "    {%- if is_load_by_load() %}\n"
        "    and reading_at > (select max(seen.reading_at) from {{ this }} as seen)\n"
        "    {%- endif %}\n",
    ),
    "float32 epochs": Mistake(
        "macros/parsing/epoch_number_to_timestamp.sql",
        "{% macro epoch_number_to_timestamp(column) -%}\n",
        "{% macro epoch_number_to_timestamp(column) -%}\n"
        "    {%- set column = 'cast(' ~ column ~ ' as float)' %}\n",
    ),
    "a dropped delete": Mistake(
        "models/intermediate/wearables/int_profile_changes.sql",
        "    where reject_reason is null\n",
        "    where reject_reason is null and change_type <> 'delete'\n",
    ),
    "rank ties": Mistake(
        "models/intermediate/wearables/int_profile_changes_resolved.sql",
        "    qualify row_number() over (\n",
        "    qualify rank() over (\n"
        "        partition by user_id, changed_at order by changed_at\n"
        "    ) = 1 or row_number() over (\n",
    ),
    "a join without time": Mistake(
        "models/intermediate/wearables/int_workouts_measured.sql",
        "            and wearings.owned_from <= readings.reading_at\n"
        "            and wearings.owned_to > readings.reading_at\n",
        "",
    ),
    "a reader that stops after the first object": Mistake(
        "macros/parsing/json_objects_of.sql",
        "concat('[', {{ text }}, ']')",
        "{{ text }}",
    ),
    "a tombstone taken from an absent field": Mistake(
        "macros/parsing/messages_of.sql",
        "            when array_contains(missing, 'value') then 'value is missing'\n",
        "",
    ),
}

_BUILT_ALL = (Step(of.DELIVER), Step(of.INGEST), Step(of.BUILD))
# A visit of the database, and that it was in another gym.
_VISITED = (
    "insert into gym_visits (id, gym, mac_address, login, logout) values "
    "(1, 5, '02:00:00:00:00:01', '2023-05-01 08:00:00+00', '2023-05-01 09:00:00+00')"
)
_VISITED_ANOTHER = "update gym_visits set gym = 6, updated_at = now() where id = 1"


def _built_in_parts(*models: str) -> tuple[Step, ...]:
    part = Step(of.BUILD_PART, models=models)
    return (Step(of.DELIVER), Step(of.INGEST), part, Step(of.BUILD))


# Mistakes that only an order of events brings to light, each with what happens to the second half
# of a story's files.
OF_ORDER = {
    "the cut asked anew at the end of a run": (
        Mistake(
            "macros/incremental/end_run.sql",
            "'built': run_state()['cut'],",
            "'built': asked_state()['cut'],",
        ),
        # A run without news moves nothing.
        (
            Step(of.CHANGE, changes=(_VISITED,)),
            Step(of.INGEST),
            Step(of.LOAD_INSIDE),
            Step(of.BUILD),
        ),
    ),
    "built moved by a partial build": (
        Mistake(
            "macros/incremental/end_run.sql",
            "not (domain['is_whole'] and domain['is_being_written']) %}\n"
            "        {{ return(false) }}\n"
            "    {% endif %}\n"
            "    {% for node in tables_of(name) + nodes_of(name, ['seed']) "
            "if node.unique_id not in done %}\n"
            "        {% if node.name in domain['pending'] or node.resource_type != 'seed' %}\n",
            "not domain['is_being_written'] %}\n"
            "        {{ return(false) }}\n"
            "    {% endif %}\n"
            "    {% for node in tables_of(name) + nodes_of(name, ['seed']) "
            "if node.unique_id not in done %}\n"
            "        {% if node.name in domain['pending'] %}\n",
        ),
        _built_in_parts("int_workouts"),
    ),
    "no marks for removed rows": (
        Mistake(
            "macros/incremental/merge_arrivals.sql",
            "source._is_removed and not target._is_deleted then update set\n"
            "        target._is_deleted = true, target._load_id = {{ cut() }}\n",
            "source._is_removed then delete\n",
        ),
        _BUILT_ALL,
    ),
    "the snapshot left out of what must be green": (
        Mistake(
            "macros/incremental/domains.sql",
            "nodes_of(name, ['model', 'snapshot']) | rejectattr",
            "nodes_of(name, ['model']) | rejectattr",
        ),
        _built_in_parts(*models_of("wearables")),
    ),
    "what a pull has told first taken for its last": (
        Mistake(
            "macros/history/rows_that_count.sql",
            "max(delivered._pull_id)",
            "min(delivered._pull_id)",
        ),
        (
            Step(of.CHANGE, changes=(_VISITED,)),
            *_BUILT_ALL,
            Step(of.CHANGE, changes=(_VISITED_ANOTHER,)),
            Step(of.INGEST),
            Step(of.BUILD),
        ),
    ),
}


@contextmanager
def planted(mistake: Mistake, folder: Path) -> Iterator[None]:
    """Lets dbt, as it is called in this process, work on a copy of the project with the mistake."""
    copy = folder / "project"
    for part in _PARTS:
        if (PROJECT / part).is_dir():
            shutil.copytree(PROJECT / part, copy / part, dirs_exist_ok=True)
        else:
            copy.mkdir(exist_ok=True)
            shutil.copyfile(PROJECT / part, copy / part)
    patched = copy / mistake.path
    text = patched.read_text()
    assert mistake.right in text, f"{mistake.path} has changed: plant the mistake anew"
    patched.write_text(text.replace(mistake.right, mistake.wrong))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lakehouse.build.PROJECT", copy)
        yield
