"""The shop's generator: the same story from the same seed, however it is delivered."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest

from generators.inbox import FileSet
from generators.kafka import Message
from generators.retail import story as retail
from generators.retail.shop import Shop
from generators.retail.story import START, deliver, sets, write
from generators.retail.tables import (
    CLICKS,
    CUSTOMERS,
    ORDER_ITEMS,
    ORDERS,
    PRODUCTS,
    REFUNDS,
    SCHEMAS,
    STOCK_LEVELS,
    STOCK_MOVEMENTS,
)
from ingestion.declaration import read_declarations
from ingestion.drift import arrow_type
from ingestion.gate import inspect
from ingestion.home import Home
from lakehouse.settings import PROJECT
from tests.oracle.retail.marts import MARTS, answers, stock_status
from tests.oracle.retail.rows import Deliveries, read_contents

SIZE: Mapping[str, int] = {"days": 15, "minutes": 10, "customers": 80}
SMALL: Mapping[str, int] = {"days": 2, "minutes": 2, "customers": 10}
TROUBLE: Mapping[str, Any] = {"late": 0.2, "duplicates": 0.1, "reversed_": True}
END = START + timedelta(days=SIZE["days"], minutes=SIZE["minutes"])
DAY = timedelta(days=1)


@cache
def told(seed: int = 1, **options: Any) -> tuple[FileSet, ...]:
    return tuple(sets(seed, **{**SIZE, **options}))


def accepted(told_sets: Iterable[FileSet]) -> Deliveries:
    """What is delivered, of the files that the gate lets in."""
    contents: dict[str, list[tuple[str, bytes]]] = {}
    for files in told_sets:
        for table, named in files.files.items():
            for name, content in named.items():
                if f"{table}/{name}" not in files.refused:
                    contents.setdefault(table, []).append((name, content))
    return read_contents(contents)


@cache
def delivered(**options: Any) -> Deliveries:
    return accepted(told(**options))


@cache
def expected(**options: Any) -> dict[str, Any]:
    return answers(delivered(**options), ingested_at=END)


def lines(**options: Any) -> dict[str, Counter[str]]:
    """How often every row of a table is delivered."""
    of = delivered(**options)
    found = {
        table: Counter(repr({"_op": None, **row}) for row in of.rows[table]) for table in SCHEMAS
    }
    return found | {CLICKS: Counter(of.clicks)}


def rows_of(table: str, content: bytes) -> list[dict[str, Any]]:
    """Rows of a file, of clicks what they say."""
    if table == CLICKS:
        envelopes = map(json.loads, gzip.decompress(content).decode().splitlines())
        return [json.loads(envelope["value"]) for envelope in envelopes]
    return list(pq.read_table(io.BytesIO(content)).to_pylist())


def contents(home: Home, told: Iterable[FileSet]) -> dict[Path, bytes]:
    """What sets of files hold, by where they are delivered."""
    return {
        home.inbox / table / name: content
        for files in told
        for table, named in files.files.items()
        for name, content in named.items()
    }


def test_same_arguments_same_bytes() -> None:
    options = {**SMALL, **TROUBLE, "corrupt": 0.05}
    assert list(sets(1, **options)) == list(sets(1, **options))
    assert list(sets(2, **options)) != list(sets(1, **options))


def test_the_bytes_hang_on_no_zone_and_no_hash_seed() -> None:
    code = (
        "import hashlib; from generators.retail.story import sets; "
        f"told = repr(list(sets(1, days=1, minutes=1, customers=10, {'corrupt=0.1'}))); "
        "print(hashlib.sha256(told.encode()).hexdigest())"
    )
    printed = [
        subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "TZ": zone, "PYTHONHASHSEED": seed},
        ).stdout
        for zone, seed in (("Asia/Tokyo", "1"), ("America/New_York", "2"))
    ]
    here = repr(list(sets(1, days=1, minutes=1, customers=10, corrupt=0.1)))
    digest = hashlib.sha256(here.encode()).hexdigest()
    assert [text.decode().strip() for text in printed] == [digest, digest]


def test_the_tables_are_as_they_are_declared() -> None:
    declared = read_declarations(PROJECT / "models")
    for table, schema in SCHEMAS.items():
        columns = [
            (column.name, arrow_type(column.data_type)) for column in declared[table].columns
        ]
        assert columns == [(field.name, field.type) for field in schema], table


def test_files_hold_what_is_declared() -> None:
    gone = Counter[str]()
    for files in told():
        for table, named in files.files.items():
            for name, content in named.items():
                if table == CLICKS:
                    assert name.endswith(".json.gz")
                    continue
                schema = pq.read_schema(io.BytesIO(content))
                assert schema.metadata is None
                if "_op" in schema.names:
                    gone[table] += 1
                    schema = schema.remove(schema.get_field_index("_op"))
                assert schema == SCHEMAS[table]
    # Only a file in which a row is gone says so.
    assert set(gone) == {CUSTOMERS, ORDER_ITEMS, STOCK_LEVELS}
    assert gone[CUSTOMERS] == 1


def moments_in(told: Iterable[FileSet]) -> Iterator[tuple[float, str, datetime]]:
    """Of each row: seconds to the delivery, the table, when it was told."""
    for files in told:
        for table, named in files.files.items():
            name = "recorded_at" if table in {REFUNDS, STOCK_MOVEMENTS} else "updated_at"
            for content in named.values():
                for row in rows_of(table, content):
                    if table == CLICKS:
                        yield files.at, table, datetime.fromisoformat(row["clicked_at"])
                    else:
                        yield files.at, table, row[name]


def test_a_set_holds_what_happened_since_the_one_before() -> None:
    busy = SIZE["days"] * 86_400.0
    starts = [day * 86_400.0 for day in range(SIZE["days"] + 1)] + [busy + 300, busy + 600]
    assert [files.at for files in told()] == starts
    before = dict(zip(starts[1:], starts, strict=False))
    for at, table, moment in moments_in(told()):
        seconds = (moment - START).total_seconds()
        if at:
            assert before[at] < seconds <= at, table
        else:  # what is known at the start
            assert seconds <= 0
    known = set(told()[0].files)
    assert known == {CUSTOMERS, PRODUCTS, STOCK_LEVELS, STOCK_MOVEMENTS}


def test_the_story_has_what_the_marts_must_cope_with() -> None:
    found = expected()
    sales = found["sales_by_region_product"]
    assert {"unknown", "Lakes", "Great Lakes"} <= {row["region"] for row in sales}
    assert any(row["lines_without_price"] for row in sales)
    assert any(row["refunds"] != "0.00" and not row["orders"] for row in sales)
    of_products: dict[int, set[str]] = {}
    for row in sales:
        of_products.setdefault(row["product_id"], set()).add(row["category"])
    assert max(map(len, of_products.values())) == 2
    assert found["refunded_beyond"]
    segments = Counter(row["segment"] for row in found["customer_segments"])
    assert segments["no orders"] > 0
    assert len(segments) > 4
    alerts = found["inventory_alerts"]
    assert {row["closed_at"] is None for row in alerts} == {True, False}
    assert min(row["on_hand"] for row in alerts) < 0
    assert {row["days_of_cover"] is None for row in alerts} == {True, False}
    rates = {row["conversion_rate"] for row in found["product_conversion"]}
    assert {0.0, 1.0} < rates
    assert found["unmatched"]["the product of a movement is not known"] > 0
    assert found["entity_counts"]["clicks"]["conflicts"] > 0
    counts = found["entity_counts"].values()
    assert all(of["duplicates"] == of["row_rejects"] == of["field_rejects"] == 0 for of in counts)
    now = stock_status(delivered(), ingested_at=END)
    assert {row["is_low"] for row in now} == {True, False, None}
    assert {row["reorder_point"] is None for row in now} == {True, False}


def test_orders_go_the_ways_of_orders() -> None:
    statuses: dict[int, list[str]] = {}
    for row in sorted(delivered().rows[ORDERS], key=lambda row: row["updated_at"]):
        statuses.setdefault(row["order_id"], []).append(row["status"])
    ways = Counter(map(tuple, statuses.values()))
    assert set(ways) == {
        ("placed",),
        ("placed", "paid"),
        ("placed", "paid", "shipped"),
        ("placed", "cancelled"),
        ("placed", "paid", "cancelled"),
    }
    assert ways["placed", "paid", "shipped"] > ways.total() / 2
    cancelled = {number for number, of in statuses.items() if of[-1] == "cancelled"}
    refunds = delivered().rows[REFUNDS]
    assert any(row["order_id"] in cancelled for row in refunds)
    of_lines = Counter((row["order_id"], row["line"]) for row in refunds)
    assert max(of_lines.values()) > 1
    items = delivered().rows[ORDER_ITEMS]
    gone = {(row["order_id"], row["line"]) for row in items if row.get("_op") == "delete"}
    assert gone
    assert any(count > 1 for count in Counter((r["order_id"], r["line"]) for r in items).values())
    assert any(row["unit_price"] is None for row in items)


def test_a_transfer_leaves_one_warehouse_and_enters_another() -> None:
    moved: dict[int, list[tuple[str, int]]] = {}
    undone = 0
    by_instant = Counter[tuple[int, str, int]]()
    for row in delivered().rows[STOCK_MOVEMENTS]:
        if row["reason"] == "transfer":
            moved.setdefault(row["moved_at"], []).append((row["warehouse"], row["quantity"]))
        if row["reason"] == "correction":
            key = row["product_id"], row["warehouse"], row["moved_at"]
            by_instant[key] += 1
            undone += by_instant[key] == 2
    assert moved
    assert undone > 0
    for (source, out), (target, into) in moved.values():
        assert source != target
        assert out == -into


def test_some_customers_come_a_day_after_their_first_order() -> None:
    known: dict[int, int] = {}
    for row in delivered().rows[CUSTOMERS]:
        known[row["customer_id"]] = min(
            row["updated_at"], known.get(row["customer_id"], row["updated_at"])
        )
    before = [
        row
        for row in delivered().rows[ORDERS]
        if row["ordered_at"] < known.get(row["customer_id"], row["ordered_at"] + 1)
    ]
    assert before
    day = (datetime.fromtimestamp(before[0]["ordered_at"] // 10**6, UTC) - START) // DAY
    first_days = accepted(told()[: day + 2])  # the start, and the days up to this one
    waits = answers(first_days, ingested_at=END)["unmatched"]
    assert waits["the customer of an order is not known"] > 0


def test_a_few_sell_best() -> None:
    units = Counter[int]()
    for row in expected()["sales_by_region_product"]:
        units[row["product_id"]] += row["units"]
    best = sum(count for _, count in units.most_common(4))
    assert best > units.total() / 2


def test_clicks_of_a_session_that_buys_come_in_their_order() -> None:
    sessions: dict[tuple[str, int], dict[str, str]] = {}
    for line in delivered().clicks:
        click = json.loads(json.loads(line)["value"])
        of = sessions.setdefault((click["session_id"], click["product_id"]), {})
        of[click["action"]] = click["clicked_at"]
    bought = [of for of in sessions.values() if of.keys() == {"view", "add", "buy"}]
    assert len(bought) > 50
    assert all(of["view"] <= of["add"] <= of["buy"] for of in bought)


@pytest.mark.parametrize("options", [{"late": 0.3}, {"duplicates": 0.3}, {"reversed_": True}])
def test_trouble_of_delivery_changes_no_row(options: dict[str, Any]) -> None:
    troubled, clean = lines(**options), lines()
    assert {table: set(found) for table, found in troubled.items()} == {
        table: set(found) for table, found in clean.items()
    }
    assert told(1, **options) != told()
    doubled = {table: found.total() - clean[table].total() for table, found in troubled.items()}
    assert all((more > 0) == ("duplicates" in options) for more in doubled.values()), doubled


def test_late_doubled_and_reversed_have_the_same_marts() -> None:
    troubled = expected(**TROUBLE)
    for name in (*MARTS, "unmatched", "refunded_beyond", "as_of"):
        assert troubled[name] == expected()[name], name
    for entity, counts in expected()["entity_counts"].items():
        of_troubled = troubled["entity_counts"][entity]
        assert of_troubled["accepted"] == counts["accepted"]
        assert of_troubled["conflicts"] == counts["conflicts"]
        assert of_troubled["duplicates"] > 0


def test_late_rows_come_a_minute_to_two_days_late() -> None:
    behind = Counter[bool]()
    ends = [files.at for files in told(late=0.3)]
    for at, _, moment in moments_in(told(late=0.3)):
        seconds = max((moment - START).total_seconds(), 0.0)
        due = next(end for end in ends if seconds <= end)
        assert at - seconds <= 2 * 86_400 + 86_400
        behind[at > due] += 1
    # Some of those that are late come in the set in which they would have come.
    assert 0.2 < behind[True] / behind.total() < 0.31
    # What would come after the end comes in one more set.
    assert ends[-1] == SIZE["days"] * 86_400 + 900


def test_reversed_sets_and_rows() -> None:
    forward, backward = list(sets(1, **SMALL)), list(sets(1, **SMALL, reversed_=True))
    assert len(forward) == len(backward)
    for ahead, back in zip(forward, reversed(backward), strict=True):
        assert set(ahead.files) == set(back.files)
        for table, named in ahead.files.items():
            of_file, of_back = (
                [rows_of(table, content) for content in of.values()]
                for of in (named, back.files[table])
            )
            assert of_file == [rows[::-1] for rows in of_back]
    names = [name for files in backward for named in files.files.values() for name in named]
    assert names == sorted(names, key=lambda name: name.split(".")[0])


def test_duplicates_bring_a_whole_file_under_another_name() -> None:
    files = {
        f"{table}/{name}": content
        for of_set in told(duplicates=0.3)
        for table, named in of_set.files.items()
        for name, content in named.items()
    }
    [again] = [name for name in files if name.endswith("-again.parquet")]
    assert files[again] == files[again.replace("-again", "")]


ROW_REJECTS = {
    "customers": {"customer_id is missing"},
    "products": {"product_id is missing"},
    "orders": {
        "order_id is missing",
        "status is none of cancelled, paid, placed, shipped",
        *(
            f"ordered_at is {fault}"
            for fault in ("unreadable", "in the future", "before 2000-01-01")
        ),
    },
    "order_items": {
        *(f"{name} is missing" for name in ("order_id", "line", "product_id")),
        "quantity is not a number of pieces",
    },
    "refunds": {
        *(f"{name} is missing" for name in ("refund_id", "order_id", "line")),
        "amount is not an amount of money",
        *(
            f"refunded_at is {fault}"
            for fault in ("unreadable", "in the future", "before 2000-01-01")
        ),
    },
    "stock_levels": {f"{name} is missing" for name in ("product_id", "warehouse")},
    "stock_movements": {
        *(f"{name} is missing" for name in ("movement_id", "product_id", "warehouse")),
        "quantity is not a number of pieces",
        *(f"moved_at is {fault}" for fault in ("unreadable", "in the future", "before 2000-01-01")),
    },
    "clicks": {
        "the line is not one JSON object",
        "the topic is unknown",
        "value is null",
        "value is missing",
        "value is not one JSON object",
        "click_id is not a whole number",
        "session_id is missing",
        "product_id is not a whole number",
        "action is none of add, buy, view",
        *(
            f"clicked_at is {fault}"
            for fault in ("unreadable", "in the future", "before 2000-01-01")
        ),
        "clicked_at has too few digits",
    },
}
FIELD_REJECTS = {
    "products": {"unit_price is not a price"},
    "order_items": {"unit_price is not a price"},
    "refunds": {"quantity is not a number of pieces"},
    "stock_levels": {"reorder_point is not a number of pieces"},
    "stock_movements": {"reason is none of correction, receipt, return, sale, transfer"},
    "clicks": {"customer_id is not a whole number"},
}
CHANGED_AT = dict.fromkeys(ROW_REJECTS, "updated_at") | {
    "refunds": "recorded_at",
    "stock_movements": "recorded_at",
}


def test_corrupt_brings_every_reason_and_loses_no_row() -> None:
    found = expected(corrupt=0.02)
    for entity, reasons in ROW_REJECTS.items():
        faults = {
            f"{CHANGED_AT[entity]} is {fault}"
            for fault in ("unreadable", "in the future", "before 2000-01-01")
            if entity != "clicks"
        }
        expected_reasons = reasons | FIELD_REJECTS.get(entity, set()) | faults
        assert set(found["reject_reasons"][entity]) == expected_reasons
        counts = found["entity_counts"][entity]
        assert counts["events_in"] == (
            counts["accepted"] + counts["duplicates"] + counts["row_rejects"]
        )
    clean, broken = lines(), lines(corrupt=0.02)
    assert all(not clean[table] - broken[table] for table in clean)


def test_the_gate_refuses_what_is_listed_and_takes_the_rest(tmp_path: Path) -> None:
    home, declared = Home(tmp_path), read_declarations(PROJECT / "models")
    options = {**SMALL, "late": 0.1, "duplicates": 0.1, "corrupt": 0.1}
    refused = []
    for path in write(home, 1, **options):
        table = path.relative_to(home.inbox).parts[0]
        if inspect(path, declared[table], home.inbox / table).reason:
            refused.append(str(path.relative_to(home.inbox)))
    assert sorted(refused) == sorted(name for files in sets(1, **options) for name in files.refused)
    assert {name.split("/")[0] for name in refused} == {ORDERS, PRODUCTS}


def test_the_files_of_the_story_are_written_and_nothing_else(tmp_path: Path) -> None:
    home = Home(tmp_path)
    options = {**SMALL, "corrupt": 0.05, **TROUBLE}
    delivered = write(home, 1, **options)
    assert {path: path.read_bytes() for path in delivered} == contents(home, sets(1, **options))
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(delivered)


def test_clicks_are_sent_as_their_files_say(tmp_path: Path) -> None:
    sent: list[Message] = []
    options = {**SMALL, "corrupt": 0.05}
    files = write(Home(tmp_path), 1, **options, send=sent.extend)
    assert not [path for path in files if CLICKS in path.parts]
    as_lines = [
        {"key": m.key and m.key.decode(), "value": m.value and m.value.decode(), "topic": m.topic}
        | {"partition": "0", "offset": "0", "timestamp": str(m.timestamp)}
        for m in sent
    ]
    by_message = Deliveries(clicks=[json.dumps(line) for line in as_lines])
    by_file = accepted(sets(1, **options))
    of_messages, of_files = (answers(one, ingested_at=END) for one in (by_message, by_file))
    assert of_messages["product_conversion"] == of_files["product_conversion"]
    assert len(sent) == of_files["entity_counts"]["clicks"]["events_in"]
    assert {message.topic for message in sent} == {"clicks"}


def num_rows(**options: Any) -> int:
    return sum(
        len(rows_of(table, content))
        for files in sets(1, **{**SIZE, "minutes": 1, **options})
        for table, named in files.files.items()
        for content in named.values()
    )


def test_size_grows_with_days_and_customers() -> None:
    usual = num_rows(days=7, customers=100)
    assert 1.4 < num_rows(days=14, customers=100) / usual < 2.4
    assert 1.6 < num_rows(days=7, customers=200) / usual < 2.4


def test_a_set_is_told_before_the_next_one_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    happened = []
    goes_on = Shop.goes_on
    monkeypatch.setattr(
        Shop, "goes_on", lambda shop, period: happened.append(period) or goes_on(shop, period)
    )
    for number, _ in enumerate(sets(1, **SMALL)):
        assert len(happened) <= number + 1
    assert len(happened) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"days": 0},
        {"minutes": 0},
        {"customers": 0},
        {"late": 1.5},
        {"duplicates": -1},
        {"corrupt": 2},
        {"every": 0},
        {"start": datetime(2026, 1, 1)},  # without a zone
    ],
)
def test_arguments_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        sets(1, **wrong)


@pytest.mark.parametrize("customers", [1, 2, 5])
def test_the_smallest_stories(customers: int) -> None:
    for seed in range(4):
        options = {"days": 1, "minutes": 1, "customers": customers, "corrupt": 1.0}
        found = accepted(sets(seed, **options, late=1.0, duplicates=1.0))
        rows = answers(found, ingested_at=START + 3 * DAY)
        assert {row["customer_id"] for row in rows["customer_segments"]} <= set(
            range(5001, 5001 + customers)
        )


def test_a_story_may_begin_in_any_zone() -> None:
    begun = datetime(2026, 3, 28, tzinfo=ZoneInfo("Europe/Berlin"))
    local, utc = (list(sets(1, **SMALL, start=at)) for at in (begun, begun.astimezone(UTC)))
    assert local == utc
    # The clock changes on the second day.
    rows = answers(accepted(local), ingested_at=begun + 3 * DAY, timezone="Europe/Berlin")
    days = {row["date"] for row in rows["product_conversion"]}
    assert days == {"2026-03-28", "2026-03-29", "2026-03-30"}


# --- live


class Clock:
    """Stands still but for sleep."""

    def __init__(self, now: datetime) -> None:
        self.now = now.timestamp()

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_days_come_at_once_and_live_sets_at_their_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    begun = datetime(2026, 3, 2, 10, 27, 53, 504_609, UTC)
    clock, appeared = Clock(begun), dict[Path, float]()
    rename = Path.replace

    def noted(path: Path, target: Path) -> Path:
        appeared[target] = clock.now
        return rename(path, target)

    monkeypatch.setattr(retail, "time", clock)
    monkeypatch.setattr(Path, "replace", noted)
    delivered = deliver(home, 1, every=20, now=begun, **SMALL)
    told = sets(1, every=20, start=begun - SMALL["days"] * DAY, **SMALL)
    assert {path: path.read_bytes() for path in delivered} == contents(home, told)
    for path in delivered:
        number = int(path.name.split(".")[0].rpartition("-")[2])
        live = max(number - SMALL["days"], 0)
        moment = begun + live * timedelta(seconds=20)
        assert appeared[path] == pytest.approx(moment.timestamp(), rel=0, abs=1e-5)
    assert max(appeared.values()) == pytest.approx(begun.timestamp() + 120, rel=0, abs=1e-5)
    assert not list(tmp_path.rglob(".*"))


def test_an_interrupt_ends_the_delivery_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        if len(slept) == 2:
            raise KeyboardInterrupt
        slept.append(seconds)

    monkeypatch.setattr(retail.time, "sleep", sleep)
    delivered = deliver(home, 1, every=30, now=START, **SMALL)
    told = sets(1, every=30, start=START - SMALL["days"] * DAY, **SMALL)
    expected = contents(home, islice(told, 2))
    assert sorted(delivered) == sorted(expected)
    on_disk = [path for path in home.root.rglob("*") if path.is_file()]
    assert {path: path.read_bytes() for path in on_disk} == expected
