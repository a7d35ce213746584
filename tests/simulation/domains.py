"""What the simulation has to know of a domain. A new domain is a new entry in `DOMAINS`."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ingestion.generators import network, wearables
from ingestion.generators import network_answers as of_network
from ingestion.generators import wearables_answers as of_wearables
from tests.integration.conftest import MARTS, NETWORK_MARTS

# Stories are of March 2026 and their skewed clocks decades ahead: any moment between them will do.
_INGESTED_AT = datetime(2027, 1, 1, tzinfo=UTC)


class File(NamedTuple):
    """A file of a story: where it is delivered, and whether the gate must refuse it."""

    table: str
    name: str
    content: bytes
    is_refused: bool


@dataclass(frozen=True)
class Domain:
    """A domain.

    Attributes:
        marts: Its marts, as the answers name them.
        accepted: By entity, the table of its accepted events and the view that judges them.
        selectors: What dbt selects to build the domain and nothing else.
        bad_var: A var which, set to nonsense, makes a model in the middle fail.
        draw_story: The arguments of its generator.
        files: The files of a story, by seed and arguments.
        answers: What plain Python makes of files that the gate lets in: the marts' rows, and
            `entity_counts` as the generators have them.
    """

    marts: tuple[str, ...]
    accepted: Mapping[str, tuple[str, str]]
    selectors: tuple[str, ...]
    bad_var: str
    draw_story: Callable[[random.Random], dict[str, float]]
    files: Callable[[int, dict[str, Any]], list[File]]
    answers: Callable[[Iterable[File]], dict[str, Any]]


def _dirt(dice: random.Random) -> dict[str, float]:
    return {
        "late": dice.choice([0, 0.1, 0.5]),
        "duplicates": dice.choice([0, 0.1, 0.3]),
        "corrupt": dice.choice([0, 0.005]),
    }


def _files(told: wearables.GeneratedFiles | network.FileSet) -> Iterator[File]:
    for table, named in told.files.items():
        for name, content in named.items():
            yield File(table, name, content, f"{table}/{name}" in told.refused)


def _wearables_story(dice: random.Random) -> dict[str, float]:
    size = {"minutes": dice.randint(20, 90), "users": dice.randint(2, 9)}
    return size | _dirt(dice) | {"twisted": dice.choice([0, 5, 20])}


def _wearables_files(seed: int, story: dict[str, Any]) -> list[File]:
    told = {name: value for name, value in story.items() if name != "twisted"}
    generated = wearables.generate(seed, **told)
    files = list(_files(generated))
    if number := story.get("twisted", 0):
        clean = wearables.generate(seed, minutes=story["minutes"], users=story["users"])
        messages = [json.loads(message) for message in clean.deliveries().messages]
        twisted = _twisted(messages, random.Random(seed), number)
        content = "\n".join(map(json.dumps, twisted)).encode()
        files.append(File(of_wearables.KAFKA_MULTIPLEX, "twisted.json", content, False))
    return files


def _twisted(
    messages: list[dict[str, Any]], dice: random.Random, number: int
) -> Iterator[dict[str, Any]]:
    """What the generator leaves out: two changes of a profile at one moment, clocks years ahead."""
    changes, readings = (
        [
            message
            for message in messages
            if message["topic"] == topic and isinstance(message["value"], dict)
        ]
        for topic in ("user_info", "bpm")
    )
    for message in dice.sample(changes, min(number, len(changes))):
        address = message["value"].get("address") or {}
        twin = {"sex": dice.choice("MF"), "address": address | {"city": "Twinning"}}
        yield message | {"value": message["value"] | twin}
    for message in dice.sample(readings, min(number, len(readings))):
        yield message | {"value": message["value"] | {"time": 4e9 + dice.randrange(1000)}}


def _wearables_answers(files: Iterable[File]) -> dict[str, Any]:
    by_table: dict[str, list[tuple[str, bytes]]] = {}
    for file in files:
        by_table.setdefault(file.table, []).append((file.name, file.content))
    answers = of_wearables.answers(of_wearables.read_contents(by_table), now=_INGESTED_AT)
    return dict(json.loads(answers.to_json()))


def _network_story(dice: random.Random) -> dict[str, float]:
    size = {"minutes": dice.randint(5, 40), "servers": dice.randint(1, 4)}
    return size | {"customers": dice.randint(4, 20)} | _dirt(dice)


def _network_files(seed: int, story: dict[str, Any]) -> list[File]:
    return [file for told in network.sets(seed, **story) for file in _files(told)]


def _network_answers(files: Iterable[File]) -> dict[str, Any]:
    by_table: dict[str, list[bytes]] = {}
    for file in files:
        by_table.setdefault(file.table, []).append(file.content)
    return of_network.answers(of_network.read_contents(by_table), ingested_at=_INGESTED_AT)


DOMAINS = {
    "wearables": Domain(
        marts=MARTS,
        accepted={
            "registrations": ("int_registrations", "stg_sbit__registrations"),
            "gym_logins": ("int_gym_logins", "stg_sbit__gym_logins"),
            "profile_changes": ("int_profile_changes", "stg_sbit__profile_changes"),
            "workout_events": ("int_workout_events", "stg_sbit__workout_events"),
            "heart_rates": ("int_readings", "stg_sbit__heart_rates"),
        },
        selectors=(
            "path:models/*/sbit",
            "path:models/*/wearables",
            "path:seeds/wearables",
            "path:snapshots",
        ),
        bad_var="max_bpm",
        draw_story=_wearables_story,
        files=_wearables_files,
        answers=_wearables_answers,
    ),
    "network": Domain(
        marts=NETWORK_MARTS,
        accepted={
            "servers": ("int_server_changes", "stg_telecom__servers"),
            "customers": ("int_customer_changes", "stg_telecom__customers"),
            "devices": ("int_device_registrations", "stg_telecom__devices"),
            "connections": ("int_connections", "stg_telecom__connections"),
        },
        selectors=("path:models/*/telecom", "path:models/*/network", "path:seeds/network"),
        bad_var="overloaded_from",
        draw_story=_network_story,
        files=_network_files,
        answers=_network_answers,
    ),
}
