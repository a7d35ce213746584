"""Registrations and visits as pulls of a database and files tell them, over loads in any order."""

from __future__ import annotations

import random
from collections import defaultdict
from io import BytesIO
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.test_late_data import DAY, mac, reading, workout
from tests.oracle.wearables.marts import answers, read_contents
from tests.support.domains import DOMAINS
from tests.support.lakehouse import Lakehouse, plain

pytestmark = pytest.mark.deep

WEARABLES = DOMAINS["wearables"]
COLUMNS = {
    "sbit.registered_users": ("user_id", "device_id", "mac_address", "registration_timestamp"),
    "sbit.gym_logins": ("mac_address", "gym", "login", "logout"),
}
PULL_COLUMNS = ("_pull_id", "_op", "_pull_key")
NUM_LOADS = 3


def drawn_row(table: str, dice: random.Random) -> tuple[str | None, ...]:
    """Few values, so that files and pulls often tell the same; some cannot be read."""
    device = dice.randint(1, 3)
    address = mac(device) if dice.random() < 0.9 else "none"
    if table == "sbit.registered_users":
        return str(dice.randint(1, 2)), str(device), address, str(DAY + dice.choice([0, 2000]))
    login = dice.choice([1000, 1000, 3000])
    logout = dice.choice([None, str(DAY + 2000), str(DAY + 5000)])
    return address, str(dice.randint(1, 2)), str(DAY + login), logout


def pulled_rows(dice: random.Random) -> list[tuple[str, dict[str, Any]]]:
    """What twelve pulls saw of three keys of each table."""
    return [
        (
            table,
            dict(zip(columns, row, strict=True))
            | {"_pull_id": pull, "_op": "delete" if is_gone else "upsert", "_pull_key": key},
        )
        for table, columns in COLUMNS.items()
        for pull in range(1, 13)
        for key in "abc"
        if dice.random() < 0.4
        for is_gone in [dice.random() < 0.25]
        for row in [[None] * len(columns) if is_gone else drawn_row(table, dice)]
    ]


def take_in(lakehouse: Lakehouse, table: str, rows: list[dict[str, Any]], load_id: int) -> None:
    names = (*COLUMNS[table], *PULL_COLUMNS)
    values = ", ".join(
        f"({', '.join('null' if row[name] is None else repr(row[name]) for name in names)})"
        for row in rows
    )
    lakehouse.rows(
        f"insert into bronze.{table.replace('.', '_')} ({', '.join(names)}, _pulled_at, "
        "_source_file, _source_sha256, _ingested_at, _load_id) "
        f"select *, current_timestamp(), 'pull', 'pull', current_timestamp(), {load_id} "
        f"from values {values}"
    )


def parquet(rows: list[dict[str, Any]]) -> bytes:
    content = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), content)
    return content.getvalue()


@pytest.fixture(scope="module")
def told(lakehouse: Lakehouse) -> tuple[Lakehouse, list[tuple[Any, Any]]]:
    """After each load, the gold and what plain Python makes of what has come."""
    dice = random.Random(5)
    pulls = pulled_rows(dice)
    dice.shuffle(pulls)
    delivered: dict[str, list[tuple[str, bytes]]] = defaultdict(list)
    seen: list[tuple[Any, Any]] = []
    messages = [
        line
        for user in (1, 2)
        for _, line in (workout(user, 1, "start", 1500), workout(user, 1, "stop", 4000))
    ] + [reading(device, at, 80)[1] for device in (1, 2, 3) for at in (1900, 2500)]
    for number in range(NUM_LOADS):
        files = {
            table: [
                ",".join(columns),
                *(",".join(field or "" for field in drawn_row(table, dice)) for _ in range(3)),
            ]
            for table, columns in COLUMNS.items()
        } | ({} if number else {"sbit.kafka_multiplex": messages})
        for table, lines in files.items():
            content = "".join(f"{line}\n" for line in lines).encode()
            delivered[table].append((f"{number}", content))
            lakehouse.deliver(table, f"{number}", content)
        load = lakehouse.ingest()
        assert load is not None
        for table in COLUMNS:
            rows = [row for of, row in pulls[number::NUM_LOADS] if of == table]
            take_in(lakehouse, table, rows, load.load_id)
            delivered[f"{table}.pulled"].append((f"{number}", parquet(rows)))
        lakehouse.build_untested()
        seen.append((lakehouse.gold("gold_build"), answers(read_contents(delivered)).plain()))
    return lakehouse, seen


@pytest.mark.parametrize("number", range(NUM_LOADS))
def test_the_gold_is_right_after_every_load(
    told: tuple[Lakehouse, list[tuple[Any, Any]]], number: int
) -> None:
    gold, expected = told[1][number]
    for mart, rows in gold.items():
        assert rows == sorted(expected[mart], key=repr), mart


def test_events_in_are_accepted_or_doubled_or_rejected(
    told: tuple[Lakehouse, list[tuple[Any, Any]]],
) -> None:
    lakehouse, seen = told
    assert lakehouse.miscounts(seen[-1][1], WEARABLES.accepted) == []
    lakehouse.build()  # with all tests of data


def test_a_full_refresh_changes_nothing(told: tuple[Lakehouse, list[tuple[Any, Any]]]) -> None:
    lakehouse, seen = told
    living = "select * from silver.{} where not _is_deleted"
    tables = ("int_registrations", "int_gym_logins", "int_gym_visits", "int_device_ownerships")
    before = {table: plain(lakehouse.rows(living.format(table))) for table in tables}
    lakehouse.build_untested("--full-refresh")
    assert lakehouse.gold("gold_build") == seen[-1][0]
    for table, rows in before.items():
        assert plain(lakehouse.rows(living.format(table))) == rows, table
