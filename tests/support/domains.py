"""What the tests have to know of a domain. A new domain is a new entry in `DOMAINS`."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from generators.kafka import Message
from generators.network import story as network
from generators.network.tables import CONNECTIONS
from generators.retail import story as retail
from generators.retail.tables import CLICKS
from generators.wearables import story as wearables
from generators.wearables.tables import KAFKA_MULTIPLEX
from tests.oracle.network import marts as of_network
from tests.oracle.retail import marts as of_retail
from tests.oracle.retail.rows import read_contents as read_shop
from tests.oracle.wearables import marts as of_wearables

# Times and heart rates that cost too much, tell too little, or are right and look odd.
NUMBERS = (
    *("1e-999999999", "1e999999999", "1.7724E+12", "1.7724E9", "1.772400000E9", "17724e5"),
    *(f"1772400000.{'0' * 29}", f"1772400000.{'0' * 30}", "-0", "0.5e3", "8e01", "8e001"),
)
# Stories are of March 2026 and their clocks less than an hour or decades ahead: any moment between
# them will do.
_INGESTED_AT = datetime(2027, 1, 1, tzinfo=UTC)
# Where the database has the times that files tell in epoch seconds.
_TIMES = {"registration_timestamp": "registered_at", "login": "login", "logout": "logout"}


class File(NamedTuple):
    """A file of a story: where it is delivered, and whether the gate must refuse it.

    What a pull sees is a file of `<table>.pulled`.
    """

    table: str
    name: str
    content: bytes
    is_refused: bool

    @property
    def full_name(self) -> str:
        """As `audit.files` has it, after its source."""
        return f"{self.table.removesuffix('.pulled')}/{self.name}"


@dataclass(frozen=True)
class Domain:
    """A domain.

    Attributes:
        marts: Its marts, as the answers name them.
        live: Its views in `gold` that show what bronze has, built or not; as the answers name them.
        accepted: By entity, the table of its accepted events.
        rejects: The tables of rejected events.
        middle: A table in the middle, into which nearly every load brings rows.
        seeds: Of the scenarios that the deep tests play.
        draw_story: The arguments of its generator.
        files: The files of a story, by seed and arguments.
        messages: Of tables whose events may come as messages too: the table of these, and what a
            file says as messages; nothing where one cannot say all of it.
        answers: What plain Python makes of those files that the gate lets in: the marts' and the
            live views' rows, and `entity_counts` and `table_counts`.
        pulled: Of tables that may be pulled from a database, too, the query of what a pull sees.
        changes: By seed and arguments, what may happen to this database, each some statements.
    """

    marts: tuple[str, ...]
    live: tuple[str, ...]
    accepted: Mapping[str, str]
    rejects: tuple[str, ...]
    middle: str
    seeds: tuple[int, ...]
    draw_story: Callable[[random.Random], dict[str, float]]
    files: Callable[[int, dict[str, Any]], list[File]]
    messages: Mapping[str, tuple[str, Callable[[File], list[Message]]]]
    answers: Callable[[Iterable[File]], dict[str, Any]]
    pulled: Mapping[str, str] = field(default_factory=dict)
    changes: Callable[[int, dict[str, Any]], list[tuple[str, ...]]] = lambda _seed, _story: []


def _dirt(dice: random.Random) -> dict[str, float]:
    return {
        "late": dice.choice([0, 0.1, 0.5]),
        "duplicates": dice.choice([0, 0.1, 0.3]),
        "corrupt": dice.choice([0, 0.005]),
        "skewed": dice.choice([0, 0.2]),
    }


def _skew(dice: random.Random, share: float) -> timedelta:
    """How far a clock is off: less than `max_clock_skew`, so that nothing rejects what it tells."""
    return timedelta(seconds=dice.randint(-3000, 3000) if dice.random() < share else 0)


def _files(told: wearables.GeneratedFiles | network.FileSet) -> Iterator[File]:
    for table, named in told.files.items():
        for name, content in named.items():
            yield File(table, name, content, f"{table}/{name}" in told.refused)


def _wearables_story(dice: random.Random) -> dict[str, float]:
    size = {"minutes": dice.randint(20, 90), "users": dice.randint(2, 9)}
    return size | _dirt(dice) | {"twisted": dice.choice([0, 5, 20])}


def _wearables_files(seed: int, story: dict[str, Any]) -> list[File]:
    told = {name: value for name, value in story.items() if name not in ("skewed", "twisted")}
    generated = wearables.generate(seed, **told)
    files = list(_files(generated))
    delivered = _clean(seed, story)
    messages = [json.loads(line) for line in delivered.messages]
    dice = random.Random(seed)
    # Older scenarios know the files by their number, so what is new comes last.
    for name, more in (
        ("twisted", _twisted(messages, dice, story.get("twisted", 0))),
        ("skewed", map(json.dumps, _skewed(messages, dice, story.get("skewed", 0)))),
        ("gym-1", _gym_events(delivered.gym_logins, dice)),
        ("gym-2", _gym_events(delivered.gym_logins, dice)),
    ):
        if content := "\n".join(more).encode():
            files.append(File(KAFKA_MULTIPLEX, f"{name}.json", content, False))
    return files


def _clean(seed: int, story: dict[str, Any]) -> of_wearables.Deliveries:
    """What the files say when all goes well."""
    clean = wearables.generate(seed, minutes=story["minutes"], users=story["users"])
    contents = {table: list(named.items()) for table, named in clean.files.items()}
    return of_wearables.read_contents(contents)


def _wearables_changes(seed: int, story: dict[str, Any]) -> list[tuple[str, ...]]:
    dice, delivered = random.Random(seed), _clean(seed, story)
    tables = {
        "registrations": [row for row in delivered.registrations if isinstance(row, dict)],
        "gym_visits": [row for row in delivered.gym_logins if isinstance(row, dict)],
    }
    return [
        (f"delete from {dice.choice(list(tables))}",)
        if dice.random() < 0.15
        else tuple(
            _change(table, tables[table], dice)
            for table in dice.choices(list(tables), k=dice.randint(1, 25))
        )
        for _ in range(10)
    ]


def _change(table: str, rows: list[dict[str, str]], dice: random.Random) -> str:
    """A row comes or becomes another, whether its change column tells or not; or it goes.

    There are so few that they change again, and back.
    """
    key = dice.randint(1, 6)
    if dice.random() < 0.25:
        return f"delete from {table} where id = {key}"
    row = dict(rows[key % len(rows)])
    if dice.random() < 0.5:  # something is another row's, or missing
        name = dice.choice(list(row))
        row[name] = dice.choice([dice.choice(rows)[name], dice.choice(rows)[name], ""])
    values = {
        _TIMES.get(name, name): f"to_timestamp({text})" if name in _TIMES else f"'{text}'"
        for name, text in row.items()
        if text
    }
    updates = [f"{name} = excluded.{name}" for name in (_TIMES.get(name, name) for name in row)]
    updates += ["updated_at = now()"] if dice.random() < 0.7 else []
    return (
        f"insert into {table} (id, {', '.join(values)}) values ({key}, "
        f"{', '.join(values.values())}) on conflict (id) do update set {', '.join(updates)}"
    )


def _of_topic(messages: list[dict[str, Any]], topic: str) -> list[dict[str, Any]]:
    return [
        message
        for message in messages
        if message["topic"] == topic and message["value"] is not None
    ]


def _told(message: dict[str, Any]) -> dict[str, Any]:
    """What a message says, which stands in its envelope as an object or as text."""
    value = message["value"]
    return dict(json.loads(value) if isinstance(value, str) else value)


def _telling(message: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """The message with another value, as text where it was text."""
    is_text = isinstance(message["value"], str)
    return message | {"value": json.dumps(value) if is_text else value}


def _twisted(messages: list[dict[str, Any]], dice: random.Random, number: int) -> Iterator[str]:
    """What the generator leaves out: two changes of a profile at one moment, clocks decades off.

    And lines that a parser reads in part, or takes for whole where something is absent.
    """
    changes, readings = _of_topic(messages, "user_info"), _of_topic(messages, "bpm")
    for message in dice.sample(changes, min(number, len(changes))):
        value = _told(message)
        address = value.get("address") or {}
        twin = {"sex": dice.choice("MF"), "address": address | {"city": "Twinning"}}
        yield json.dumps(_telling(message, value | twin))
    for message in dice.sample(readings, min(number, len(readings))):
        time = dice.choice([0, 4e9]) + dice.randrange(1000)
        yield json.dumps(_telling(message, _told(message) | {"time": time}))
    by_topic = [
        found for topic in of_wearables.TOPIC_ENTITIES if (found := _of_topic(messages, topic))
    ]
    for _ in range(number if by_topic else 0):
        yield dice.choice(_misreadable(*dice.choices(dice.choice(by_topic), k=2), dice))


def _misreadable(message: dict[str, Any], other: dict[str, Any], dice: random.Random) -> list[str]:
    """The line of a message in every way to be misread."""
    value = _told(message)
    # Of a moment that no other message tells: what is read of it is no duplicate.
    moved = value | {
        key: of + 0.25
        for key, of in value.items()
        if key in ("time", "timestamp") and isinstance(of, int | float)
    }
    line = json.dumps(_telling(message, moved))
    lost, name = dice.choice(list(message)), dice.choice(list(value))
    lacking = {key: of for key, of in value.items() if key != name}
    misshapen = dice.choice([{"is": value[name]}, [value[name]], {}, "1 Way"])
    measure = dice.choice([key for key in value if key in ("time", "timestamp", "heartrate")])
    number, end = dice.choice(NUMBERS), dice.choice(["x", "}", "]", "null"])
    changed = [
        message | {"value": None},
        message | {"value": f"{json.dumps(moved)} {dice.choice(['{}', ', {}', 'x', ']'])}"},
        {key: of for key, of in message.items() if key != "value"},
        {key: of for key, of in message.items() if key != lost},
        {key.title() if key == lost else key: of for key, of in message.items()},
        _telling(message, lacking),
        _telling(message, lacking | {name.title(): value[name]}),
        _telling(message, value | {name: misshapen}),
        _telling(message, value | {measure: number}),
        _telling(message, value | {measure: "@"}),
    ]
    lines = [json.dumps(of) for of in changed]
    return [
        *(of.replace(r"\"@\"", number).replace('"@"', number) for of in lines),
        f"{line}{json.dumps(other)}",
        f"{line}, {json.dumps(other)}",
        f"{line} {end}",
    ]


def _skewed(
    messages: list[dict[str, Any]], dice: random.Random, share: float
) -> Iterator[dict[str, Any]]:
    """Readings and starts and stops of workouts once more, by clocks that are wrong."""
    for topic, time in (("bpm", "time"), ("workout", "timestamp")):
        for message in _of_topic(messages, topic):
            value = _told(message)
            skew = _skew(dice, share).total_seconds()
            if skew and isinstance(value.get(time), int | float):
                yield _telling(message, value | {time: value[time] + skew})


def _gym_events(visits: Iterable[of_wearables.CsvRow], dice: random.Random) -> Iterator[str]:
    """Visits told as events: the same ones, and such as no row tells; some events are lost."""
    for visit in visits:
        if isinstance(visit, str) or not (visit["login"] and visit["logout"]):
            continue
        # An hour overlaps, 13 hours do not.
        earlier = dice.choice([0, 0, 3600, 13 * 3600, 13 * 3600])
        times = {"login": float(visit["login"]), "logout": float(visit["logout"])}
        for action in ("login", "login", "logout", "logout"):
            if dice.random() < 0.6:
                time = times[action] - earlier + dice.choice([0, 0, 60])
                value = {"mac_address": visit["mac_address"], "gym": int(visit["gym"])}
                value |= {"action": action, "time": time}
                yield json.dumps(
                    {"key": visit["mac_address"], "value": json.dumps(value), "topic": "gym"}
                    | {"partition": 0, "offset": 0, "timestamp": time}
                )


def _let_in(files: Iterable[File]) -> dict[str, list[File]]:
    """By table, the files that the gate lets in."""
    by_table: dict[str, list[File]] = {}
    for file in files:
        if not file.is_refused:
            by_table.setdefault(file.table, []).append(file)
    return by_table


def _wearables_answers(files: Iterable[File]) -> dict[str, Any]:
    contents = {
        table: [(file.name, file.content) for file in of_table]
        for table, of_table in _let_in(files).items()
    }
    return of_wearables.answers(of_wearables.read_contents(contents), now=_INGESTED_AT).plain()


def _network_story(dice: random.Random) -> dict[str, float]:
    size = {"minutes": dice.randint(5, 40), "servers": dice.randint(1, 4)}
    return size | {"customers": dice.randint(4, 20)} | _dirt(dice)


def _network_files(seed: int, story: dict[str, Any]) -> list[File]:
    told = {name: value for name, value in story.items() if name != "skewed"}
    share = story.get("skewed", 0)
    return [
        _by_skewed_clocks(file, seed, share)
        if share and file.table == CONNECTIONS and not file.is_refused
        else file
        for told in network.sets(seed, **told)
        for file in _files(told)
    ]


def _by_skewed_clocks(file: File, seed: int, share: float) -> File:
    """The connections as devices tell them, some of which have wrong clocks."""
    rows = pq.read_table(BytesIO(file.content))
    skews = [
        _skew(random.Random(f"{seed} {device}"), share) for device in rows["device_id"].to_pylist()
    ]
    place = rows.schema.get_field_index("event_at")
    told_at = pc.add(rows["event_at"], pa.array(skews, pa.duration("us")))
    content = BytesIO()
    pq.write_table(rows.set_column(place, rows.schema.field("event_at"), told_at), content)
    return file._replace(content=content.getvalue())


def _network_answers(files: Iterable[File]) -> dict[str, Any]:
    contents = {
        table: [file.content for file in of_table] for table, of_table in _let_in(files).items()
    }
    tables = of_network.read_contents(contents)
    return of_network.answers(tables, ingested_at=_INGESTED_AT) | {
        "server_status": of_network.server_status(tables, ingested_at=_INGESTED_AT)
    }


def _retail_story(dice: random.Random) -> dict[str, float]:
    size = {"days": dice.randint(2, 6), "minutes": 10, "customers": dice.randint(4, 12)}
    dirt = _dirt(dice)
    return size | {name: share for name, share in dirt.items() if name != "skewed"}


def _retail_files(seed: int, story: dict[str, Any]) -> list[File]:
    return [file for told in retail.sets(seed, **story) for file in _files(told)]


def _retail_messages(file: File) -> list[Message]:
    return list(retail.messages_of(file.content))


def _retail_answers(files: Iterable[File]) -> dict[str, Any]:
    contents = {
        table: [(file.name, file.content) for file in of_table]
        for table, of_table in _let_in(files).items()
    }
    deliveries = read_shop(contents)
    return of_retail.answers(deliveries, ingested_at=_INGESTED_AT) | {
        "stock_status": of_retail.stock_status(deliveries, ingested_at=_INGESTED_AT)
    }


def _changed(entity: str, columns: str) -> str:
    """The accepted rows: of what pulls saw those that are not as the pull before saw them."""
    told = f"if(_status = 'told', struct({columns}), null)"
    return (
        f"(select _status, {told} as told, _pull_key is not null as is_pulled, "
        f"lag(_status) over pulls as status_before, lag({told}) over pulls as told_before "
        f"from silver.int_{entity}_delivered "
        "window pulls as (partition by _pull_key order by _pull_id)) where _status <> 'refused' "
        "and not (is_pulled and _status <=> status_before and told <=> told_before)"
    )


def _wearables_messages(file: File) -> list[Message]:
    content = file.content if file.name.endswith(".gz") else gzip.compress(file.content)
    lines = gzip.decompress(content).decode().splitlines()
    return list(wearables.messages_of(content)) if all(map(_is_message, lines)) else []


def _is_message(line: str) -> bool:
    """Whether a line is what a message would be written as."""
    with suppress(ValueError):
        told = json.loads(line)
        fields = {"key", "value", "topic", "partition", "offset", "timestamp"}
        return (
            isinstance(told, dict)
            and told.keys() == fields
            and told["topic"] in of_wearables.TOPIC_ENTITIES
            and isinstance(told["value"], dict | str | None)
        )
    return False


def _network_messages(file: File) -> list[Message]:
    return network.messages_of(file.content)


def selected(*domains: str) -> tuple[str, ...]:
    """What dbt is told to take all of these domains, and nothing else."""
    return ("--select", *(f"config.meta.domain:{domain}" for domain in domains))


DOMAINS = {
    "wearables": Domain(
        marts=("workout_bpm_summary", "workout_bpm_curve", "gym_summary", "gym_visits"),
        live=(),
        accepted={
            "registrations": _changed(
                "registrations", "user_id, device_id, mac_address, registered_at"
            ),
            "gym_logins": _changed("gym_logins", "gym, mac_address, login_at, logout_at"),
            "profile_changes": "silver.int_profile_changes",
            "workout_events": "silver.int_workout_events",
            "gym_events": "silver.int_gym_events",
            "heart_rates": "silver.int_readings",
        },
        rejects=("silver.int_file_rejects", "silver.int_message_rejects"),
        middle="silver.int_workouts_measured",
        seeds=(38,),
        draw_story=_wearables_story,
        files=_wearables_files,
        messages={KAFKA_MULTIPLEX: (KAFKA_MULTIPLEX, _wearables_messages)},
        answers=_wearables_answers,
        pulled={
            "sbit.registered_users": "select id::text as _pull_key, user_id::text, "
            "device_id::text, mac_address::text, "
            "extract(epoch from registered_at)::text as registration_timestamp "
            "from registrations order by id",
            "sbit.gym_logins": "select id::text as _pull_key, mac_address::text, gym::text, "
            "extract(epoch from login)::text as login, extract(epoch from logout)::text as logout "
            "from gym_visits order by id",
        },
        changes=_wearables_changes,
    ),
    "network": Domain(
        marts=(
            "server_load",
            "server_upgrade_candidates",
            "heavy_users",
            "subscribed_vs_received",
            "bandwidth_summary",
            "server_weekly",
        ),
        live=("server_status",),
        accepted={
            "servers": "silver.int_server_changes",
            "customers": "silver.int_customer_changes",
            "devices": "silver.int_device_registrations",
            "connections": "silver.int_connections",
        },
        rejects=("silver.int_connection_rejects", "silver.int_subscription_rejects"),
        middle="silver.consolidated",
        seeds=(274,),
        draw_story=_network_story,
        files=_network_files,
        messages={CONNECTIONS: ("telecom.kafka_multiplex", _network_messages)},
        answers=_network_answers,
    ),
    "retail": Domain(
        marts=of_retail.MARTS,
        live=("stock_status",),
        accepted={
            entity: _changed(entity, columns)
            for entity, columns in {
                "customers": "name, email, region, updated_at",
                "products": "name, category, unit_price, updated_at",
                "orders": "customer_id, status, ordered_at, updated_at",
                "order_items": "product_id, quantity, unit_price, updated_at",
                "refunds": "order_id, line, quantity, amount, refunded_at, recorded_at",
                "stock_levels": "reorder_point, updated_at",
                "stock_movements": "product_id, warehouse, quantity, reason, moved_at, recorded_at",
            }.items()
        }
        | {"clicks": "silver.int_clicks"},
        rejects=("silver.int_shop_rejects", "silver.int_stock_rejects", "silver.int_click_rejects"),
        middle="silver.int_order_lines",
        seeds=(1,),
        draw_story=_retail_story,
        files=_retail_files,
        messages={CLICKS: (CLICKS, _retail_messages)},
        answers=_retail_answers,
    ),
}
