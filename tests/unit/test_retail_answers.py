"""The shop's oracle against the cases O1 to O9 and its rules, each worked out by hand."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from itertools import permutations, product
from random import Random
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from tests.oracle.retail.marts import (
    MARTS,
    SEGMENTS,
    answers,
    read_segments,
    stock_status,
)
from tests.oracle.retail.rows import Clock, Deliveries, judge_rows, micros, read_contents
from tests.oracle.retail.states import digest

DAY = datetime(2026, 3, 2, tzinfo=UTC)  # a Monday
INGESTED = datetime(2026, 6, 1, tzinfo=UTC)
KEYS = {
    CUSTOMERS: ("customer_id",),
    PRODUCTS: ("product_id",),
    ORDERS: ("order_id",),
    ORDER_ITEMS: ("order_id", "line"),
    REFUNDS: ("refund_id",),
    STOCK_LEVELS: ("product_id", "warehouse"),
    STOCK_MOVEMENTS: ("movement_id",),
}

Row = dict[str, Any]


class Event(NamedTuple):
    """A row of a table; of clicks the line."""

    table: str
    row: Any
    is_pulled: bool = False


def at(text: str, days: int = 0) -> int:
    """hh:mm or hh:mm:ss on the day, or days after it, in microseconds since 1970."""
    hours, minutes, *seconds = text.split(":")
    return micros(
        DAY
        + timedelta(
            days=days, hours=int(hours), minutes=int(minutes), seconds=float((*seconds, "0")[0])
        )
    )


def text(when: str, days: int = 0) -> str:
    """The same as the marts tell it."""
    moment = datetime.fromtimestamp(at(when, days) // 10**6, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z")


def money(amount: str | None) -> Decimal | None:
    return None if amount is None else Decimal(amount)


def customer(number: int = 1, region: str | None = "North", when: int = at("00:00")) -> Event:
    row = {"customer_id": number, "name": f"name {number}", "email": f"{number}@example.com"}
    return Event(CUSTOMERS, row | {"region": region, "updated_at": when})


def article(
    number: int = 1,
    category: str | None = "books",
    price: str | None = "10.00",
    when: int = at("00:00"),
) -> Event:
    row = {"product_id": number, "name": f"product {number}", "category": category}
    return Event(PRODUCTS, row | {"unit_price": money(price), "updated_at": when})


def order(
    number: int = 1,
    when: int = at("10:00"),
    status: str = "placed",
    changed: int | None = None,
    of: int | None = 1,
) -> Event:
    row = {"order_id": number, "customer_id": of, "status": status, "ordered_at": when}
    return Event(ORDERS, row | {"updated_at": when if changed is None else changed})


def line(  # noqa: PLR0917 - the columns of the table
    of: int = 1,
    number: int = 1,
    article: int = 1,
    quantity: int = 1,
    price: str | None = "10.00",
    when: int = at("10:00"),
) -> Event:
    row = {"order_id": of, "line": number, "product_id": article, "quantity": quantity}
    return Event(ORDER_ITEMS, row | {"unit_price": money(price), "updated_at": when})


def refund(
    number: int, amount: str, when: int = at("12:00"), of: int = 1, of_line: int = 1
) -> Event:
    row = {"refund_id": number, "order_id": of, "line": of_line, "quantity": 1}
    row |= {"amount": money(amount), "refunded_at": when, "recorded_at": when}
    return Event(REFUNDS, row)


def level(
    point: int | None, when: int = at("00:00"), article: int = 1, warehouse: str = "east"
) -> Event:
    row = {"product_id": article, "warehouse": warehouse, "reorder_point": point}
    return Event(STOCK_LEVELS, row | {"updated_at": when})


def move(  # noqa: PLR0917 - the columns of the table
    number: int,
    quantity: int,
    when: int,
    reason: str = "sale",
    article: int = 1,
    warehouse: str = "east",
) -> Event:
    row = {"movement_id": number, "product_id": article, "warehouse": warehouse}
    row |= {"quantity": quantity, "reason": reason, "moved_at": when, "recorded_at": when}
    return Event(STOCK_MOVEMENTS, row)


def click(  # noqa: PLR0917 - the columns of the table
    number: int,
    action: str,
    when: str = "2026-03-02T10:00:00Z",
    session: str = "s",
    article: int = 1,
    of: int | None = None,
) -> Event:
    value = {"click_id": number, "session_id": session, "customer_id": of}
    value |= {"product_id": article, "action": action, "clicked_at": when}
    return Event(CLICKS, envelope(json.dumps(value)))


def envelope(value: object, **changes: object) -> str:
    told = {"key": "s", "value": value, "topic": "clicks", "partition": 0, "offset": 0}
    return json.dumps(told | {"timestamp": 1772445600} | changes)


def gone(event: Event) -> Event:
    """The row by hand that says that it is gone."""
    kept = {*KEYS[event.table], "updated_at", "recorded_at"}
    row = {name: value for name, value in event.row.items() if name in kept}
    return Event(event.table, row | {"_op": "delete"})


def said(event: Event, op: str | None) -> Event:
    """The row by hand with a word in `_op`."""
    return Event(event.table, event.row | {"_op": op})


def saw(pull: int, event: Event, when: int, *, is_gone: bool = False) -> Event:
    """The row as a pull saw it."""
    row = event.row
    if is_gone:
        row = {name: row[name] if name in KEYS[event.table] else None for name in row}
    op = "delete" if is_gone else "upsert"
    return Event(event.table, row | {"_pull_id": pull, "_pulled_at": when, "_op": op}, True)


def deliver(events: Iterable[Event]) -> Deliveries:
    rows: dict[str, list[Row]] = {}
    pulled: dict[str, list[Row]] = {}
    clicks: list[str] = []
    for event in events:
        if event.table == CLICKS:
            clicks.append(event.row)
        else:
            (pulled if event.is_pulled else rows).setdefault(event.table, []).append(event.row)
    return Deliveries(rows, pulled, clicks)


def found(*events: Event, **options: Any) -> dict[str, Any]:
    return answers(deliver(events), **{"ingested_at": INGESTED, **options})


def status(*events: Event, **options: Any) -> list[Row]:
    return stock_status(deliver(events), **{"ingested_at": INGESTED, **options})


def picked(rows: Iterable[Mapping[str, Any]], *names: str) -> list[Any]:
    return [tuple(row[name] for name in names) for row in rows]


SALES = ("region", "orders", "units", "gross_sales", "refunds", "net_sales")


def sales(*events: Event, **options: Any) -> list[Any]:
    """Of the rows of `sales_by_region_product` what is counted, by region."""
    return picked(found(*events, **options)["sales_by_region_product"], *SALES)


def alerts(*events: Event, **options: Any) -> list[Any]:
    """Alerts: opened_at, closed_at, on_hand, reorder_point."""
    names = ("opened_at", "closed_at", "on_hand", "reorder_point")
    return picked(found(*events, **options)["inventory_alerts"], *names)


KNOWN = (customer(), article())
ONE_SALE = [("North", 1, 1, "10.00", "0.00", "10.00")]


# --- sales


def test_a_sale_is_told_in_all_columns() -> None:
    rows = found(*KNOWN, order(), line(quantity=3), refund(1, "4.00"))["sales_by_region_product"]
    assert rows == [
        {
            "date": "2026-03-02",
            "region": "North",
            "product_id": 1,
            "category": "books",
            "orders": 1,
            "units": 3,
            "gross_sales": "30.00",
            "refunds": "4.00",
            "net_sales": "26.00",
            "lines_without_price": 0,
        }
    ]
    assert [name for row in rows for name in row][:4] == [
        *("date", "region", "product_id", "category"),
    ]


def test_o1_an_order_updated_twice_counts_once() -> None:
    states = [
        order(),
        order(status="paid", changed=at("10:30")),
        order(status="shipped", changed=at("11:00")),
    ]
    for of_file in permutations(states):
        assert sales(*KNOWN, line(), *of_file) == ONE_SALE
    # Two updates between two pulls: the second pull sees the last state alone.
    pulled = [saw(1, states[0], at("10:05")), saw(2, states[2], at("11:05"))]
    for of_pull in permutations(pulled):
        assert sales(*KNOWN, line(), *of_pull) == ONE_SALE


@pytest.mark.parametrize("is_counted", ["placed", "paid", "shipped"])
def test_o2_an_order_that_is_cancelled_is_out_with_its_refund(is_counted: str) -> None:
    events = [*KNOWN, order(status=is_counted), line(), refund(1, "10.00")]
    assert sales(*events) == [("North", 1, 1, "10.00", "10.00", "0.00")]
    assert sales(*events, order(status="cancelled", changed=at("10:30"))) == []


def test_o2_a_line_that_is_deleted_is_out_with_its_refund() -> None:
    events = [
        *KNOWN,
        order(),
        line(),
        line(number=2, quantity=2),
        refund(1, "5.00"),
        refund(2, "6.00", of_line=2),
    ]
    assert sales(*events) == [("North", 1, 3, "30.00", "11.00", "19.00")]
    left = [("North", 1, 1, "10.00", "5.00", "5.00")]
    by_hand = gone(line(number=2, when=at("10:30")))
    assert sales(*events, by_hand) == left
    assert found(*events, by_hand)["unmatched"]["the line of a refund is not known"] == 0
    second = line(number=2, quantity=2)
    pulled = [saw(1, second, at("10:05")), saw(2, second, at("11:05"), is_gone=True)]
    assert sales(*events, *pulled) == left


@pytest.mark.parametrize(
    ("op", "orders", "rejects"),
    [
        (None, 1, {}),
        ("upsert", 1, {}),
        (" DELETE ", 0, {}),
        ("d", 1, {"_op is none of delete, upsert": 1}),
    ],
)
def test_the_word_of_a_row_by_hand(op: str | None, orders: int, rejects: dict[str, int]) -> None:
    rows = found(*KNOWN, order(), line(), said(line(when=at("10:30")), op))
    assert len(rows["sales_by_region_product"]) == orders
    assert rows["reject_reasons"]["order_items"] == rejects


@pytest.mark.parametrize(
    ("quantity", "own", "of_product", "gross"),
    [
        (10, "1000000000.00", "1.00", "10000000000.00"),
        (11, "1000000000.00", "1.00", "11.00"),
        (10, None, "1000000000.00", "10000000000.00"),
        (11, None, "1000000000.00", "0.00"),
    ],
)
def test_a_line_is_worth_ten_billion_at_most(
    quantity: int, own: str | None, of_product: str, gross: str
) -> None:
    rows = found(customer(), article(price=of_product), order(), line(price=own, quantity=quantity))
    [sold] = rows["sales_by_region_product"]
    assert str(sold["gross_sales"]) == gross
    assert sold["lines_without_price"] == (gross == "0.00")


def test_o2_refunds_count_on_their_own_day_and_two_of_a_line_both() -> None:
    events = [*KNOWN, order(), line(quantity=2)]
    events += [refund(1, "5.00", at("12:00", 1)), refund(2, "7.50", at("13:00", 1))]
    rows = found(*events)["sales_by_region_product"]
    assert picked(rows, "date", "orders", "units", "gross_sales", "refunds", "net_sales") == [
        ("2026-03-02", 1, 2, "20.00", "0.00", "20.00"),
        ("2026-03-03", 0, 0, "0.00", "12.50", "-12.50"),
    ]


def test_a_refund_larger_than_the_line_counts_in_full_and_is_listed() -> None:
    events = [*KNOWN, order(), line(), refund(1, "10.00"), refund(2, "0.01")]
    assert sales(*events) == [("North", 1, 1, "10.00", "10.01", "-0.01")]
    assert found(*events)["refunded_beyond"] == [
        {"order_id": 1, "line": 1, "sold": "10.00", "refunded": "10.01"}
    ]
    assert found(*events[:-1])["refunded_beyond"] == []
    cancelled = order(status="cancelled", changed=at("11:00"))
    assert found(*events, cancelled)["refunded_beyond"] == []


def test_a_refund_waits_for_its_order_and_its_line() -> None:
    orphan = refund(1, "4.00", at("09:00"))
    early = found(*KNOWN, orphan)
    assert early["sales_by_region_product"] == []
    assert early["unmatched"]["the order of a refund is not known"] == 1
    assert early["unmatched"]["the line of a refund is not known"] == 0
    without_line = found(*KNOWN, orphan, order())
    assert without_line["sales_by_region_product"] == []
    assert without_line["unmatched"]["the order of a refund is not known"] == 0
    assert without_line["unmatched"]["the line of a refund is not known"] == 1
    whole = found(*KNOWN, orphan, order(), line())
    assert picked(whole["sales_by_region_product"], *SALES) == [
        ("North", 1, 1, "10.00", "4.00", "6.00")
    ]
    assert not any(whole["unmatched"].values())


def test_a_line_waits_for_its_order() -> None:
    waiting = found(*KNOWN, line())
    assert waiting["sales_by_region_product"] == []
    assert waiting["unmatched"]["the order of a line is not known"] == 1


def test_o4_the_products_price_holds_where_the_line_has_none() -> None:
    dearer = article(price="12.00", when=at("09:00"))
    events = [*KNOWN, dearer, order(), line(price=None, quantity=2)]
    assert sales(*events) == [("North", 1, 2, "24.00", "0.00", "24.00")]
    # That of the order's moment, not of the line's change.
    later = article(price="99.00", when=at("10:00:01"))
    assert sales(*events, later, line(price=None, when=at("11:00"), quantity=2)) == [
        ("North", 1, 2, "24.00", "0.00", "24.00")
    ]


def test_o4_a_line_without_any_price_is_counted() -> None:
    free = article(2, price=None)
    events = [*KNOWN, free, order(), line(), line(number=2, article=2, quantity=4, price=None)]
    rows = found(*events)["sales_by_region_product"]
    assert picked(rows, "product_id", "units", "gross_sales", "lines_without_price") == [
        (1, 1, "10.00", 0),
        (2, 4, "0.00", 1),
    ]
    # Of a product that nobody knows neither price nor category are.
    [row] = found(customer(), order(), line(article=9, price=None))["sales_by_region_product"]
    assert (row["category"], row["units"], row["lines_without_price"]) == ("unknown", 1, 1)


@pytest.mark.parametrize("region", [None, "", "  "])
def test_o4_a_customer_without_a_region(region: str | None) -> None:
    assert sales(customer(region=region), article(), order(), line()) == [
        ("unknown", 1, 1, "10.00", "0.00", "10.00")
    ]


def test_an_order_whose_customer_comes_a_day_later() -> None:
    waiting = found(article(), order(), line())
    assert picked(waiting["sales_by_region_product"], "region") == [("unknown",)]
    assert waiting["unmatched"]["the customer of an order is not known"] == 1
    # Before the first version the first holds.
    come = found(article(), order(), line(), customer(when=at("10:00", 1)))
    assert picked(come["sales_by_region_product"], "region") == [("North",)]
    assert not any(come["unmatched"].values())


def test_an_order_of_nobody() -> None:
    rows = found(*KNOWN, order(of=None), line())
    assert picked(rows["sales_by_region_product"], "region") == [("unknown",)]
    assert picked(rows["customer_segments"], "customer_id", "segment") == [(1, "no orders")]
    assert not any(rows["unmatched"].values())


def test_a_region_renamed() -> None:
    events = [*KNOWN, customer(region="Nord", when=at("11:00"))]
    events += [order(n, at(f"{9 + n}:00")) for n in (1, 2)]  # at the very moment: the new name
    events += [line(1), line(2), refund(1, "1.00", at("20:00"), of=1)]
    assert sales(*events) == [
        ("Nord", 1, 1, "10.00", "0.00", "10.00"),
        ("North", 1, 1, "10.00", "1.00", "9.00"),
    ]


def test_a_customer_who_is_gone_keeps_what_was() -> None:
    person = customer()
    events = [article(), order(1, at("10:00")), line(1), order(2, at("14:00")), line(2)]
    pulled = [saw(1, person, at("00:05")), saw(2, person, at("12:00"), is_gone=True)]
    assert sales(*events, *pulled) == [
        ("North", 1, 1, "10.00", "0.00", "10.00"),
        ("unknown", 1, 1, "10.00", "0.00", "10.00"),
    ]


def test_a_product_that_changes_category_in_the_middle_of_a_day() -> None:
    events = [*KNOWN, article(category="gifts", when=at("12:00"))]
    for number, when in enumerate(("11:59:59", "12:00", "12:01"), 1):
        events += [order(number, at(when)), line(number)]
    events.append(refund(1, "3.00", at("18:00"), of=1))
    rows = found(*events)["sales_by_region_product"]
    assert picked(rows, "date", "category", "orders", "net_sales") == [
        ("2026-03-02", "books", 1, "7.00"),
        ("2026-03-02", "gifts", 2, "20.00"),
    ]


def test_orders_are_counted_once_a_product() -> None:
    events = [*KNOWN, article(2), order(), line(), line(number=2), line(number=3, article=2)]
    rows = found(*events)["sales_by_region_product"]
    assert picked(rows, "product_id", "orders", "units") == [(1, 1, 2), (2, 1, 1)]


def test_a_day_with_a_clock_change() -> None:
    # 2026-03-29 has 23 hours in Berlin: from 23:00 UTC the day before to 22:00 UTC.
    days = 27
    moments = [at("22:59:59", days - 1), at("23:00", days - 1), at("21:59:59", days)]
    moments.append(at("22:00", days))
    events = list(KNOWN)
    for number, when in enumerate(moments, 1):
        events += [order(number, when), line(number), move(number, -number, when)]
        shown = datetime.fromtimestamp(when // 10**6, UTC).isoformat()
        events.append(click(number, "view", shown, session=str(number)))
    rows = found(*events, timezone="Europe/Berlin")
    dates = ["2026-03-28", "2026-03-29", "2026-03-30"]
    assert picked(rows["sales_by_region_product"], "date", "orders") == [
        *zip(dates, (1, 2, 1), strict=True)
    ]
    assert picked(rows["inventory_daily"], "date", "opening", "sold", "closing") == [
        (dates[0], 0, 1, -1),
        (dates[1], -1, 5, -6),
        (dates[2], -6, 4, -10),
    ]
    assert picked(rows["product_conversion"], "date", "views") == [
        *zip(dates, (1, 2, 1), strict=True)
    ]
    assert [row["date"] for row in found(*events)["sales_by_region_product"]] == dates[:2]


# --- segments


def segment(*events: Event, **options: Any) -> list[Any]:
    names = ("customer_id", "recency_days", "frequency", "monetary", "r", "f", "m", "segment")
    return picked(found(*events, **options)["customer_segments"], *names)


def test_o5_a_customer_with_one_order() -> None:
    events = [*KNOWN, order(), line(quantity=2), refund(1, "5.00", at("12:00", 2))]
    [row] = found(*events, as_of=DAY + timedelta(days=2, hours=23))["customer_segments"]
    assert row == {
        "customer_id": 1,
        "recency_days": 2,
        "frequency": 1,
        "monetary": "15.00",
        "r": 1,
        "f": 1,
        "m": 1,
        "segment": "lost",
        "order_days": 1,
        "first_ordered_on": "2026-03-02",
    }


def test_o5_equals_are_equal() -> None:
    events = [article(), *(customer(n) for n in range(1, 8))]
    for number in range(1, 8):
        events += [order(number, of=number), line(number)]
    assert {row[1:] for row in segment(*events)} == {(0, 1, "10.00", 1, 1, 1, "lost")}


def test_segments_by_fifths_of_the_percent_rank() -> None:
    # Customer n: n orders, on the last n days, of which each is worth 10: all ranks are n - 1.
    events = [article(), *(customer(n) for n in range(1, 12))]
    number = 0
    for person in range(1, 12):
        for nth in range(person):
            number += 1
            # The last order of customer n is 11 - n days before the report.
            when = at("10:00", 30 + person - nth)
            events += [order(number, when, of=person), line(number)]
    rows = segment(*events, as_of=DAY + timedelta(days=41, hours=12))
    assert [row[:4] for row in rows] == [
        (person, 11 - person, person, f"{10 * person}.00") for person in range(1, 12)
    ]
    # percent_rank is 0, 0.1 ... 1, of which 5 times and 1 more is 1, 1.5, 2 ... 5.5, at most 5.
    fifths = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5]
    assert [row[4:7] for row in rows] == [(fifth,) * 3 for fifth in fifths]
    names = {1: "lost", 2: "hibernating", 3: "needs attention", 4: "champions", 5: "champions"}
    assert [row[7] for row in rows] == [names[fifth] for fifth in fifths]


def test_o9_a_customer_who_never_ordered_and_one_whose_only_order_is_cancelled() -> None:
    events = [article(), *(customer(n) for n in (1, 2, 3))]
    events += [order(1, of=1), line(1), order(2, status="cancelled", of=2), line(2)]
    rows = segment(*events)
    assert rows[1:] == [(n, *(None,) * 6, "no orders") for n in (2, 3)]
    # Those without orders have no part in the ranks.
    assert rows[0] == (1, 0, 1, "10.00", 1, 1, 1, "lost")
    assert found(customer())["customer_segments"][0]["segment"] == "no orders"


def test_who_is_a_customer() -> None:
    person = customer(2)
    known = [saw(1, person, at("00:05")), saw(2, person, at("12:00"), is_gone=True)]
    # Nobody knows 7 yet; 2 is gone, and has ordered nothing.
    events = [article(), customer(1), *known, order(1, of=7), line(1)]
    assert [row[0] for row in segment(*events)] == [1, 7]
    assert [row[0] for row in segment(*events, order(2, of=2))] == [1, 2, 7]


def test_the_days_of_orders_are_local() -> None:
    events = [*KNOWN]
    for number, when in enumerate((at("09:59"), at("10:30"), at("23:30"), at("23:30", 3)), 1):
        events += [order(number, when), line(number)]
    names = ("recency_days", "frequency", "order_days", "first_ordered_on")
    rows = found(*events)["customer_segments"]
    assert picked(rows, *names) == [(0, 4, 2, "2026-03-02")]
    # In Tokyo 23:30 is the next day, in Honolulu 09:59 was still the day before.
    rows = found(*events, timezone="Asia/Tokyo")["customer_segments"]
    assert picked(rows, *names) == [(0, 4, 3, "2026-03-02")]
    rows = found(*events, timezone="Pacific/Honolulu", as_of=DAY + timedelta(days=5))
    assert picked(rows["customer_segments"], *names) == [(1, 4, 3, "2026-03-01")]


def test_a_report_knows_nothing_of_what_comes_after_it() -> None:
    events = [*KNOWN, order(1), line(1), refund(1, "1.00", at("10:00", 4))]
    events += [order(2, at("10:00", 5)), line(2)]
    assert segment(*events, as_of=DAY + timedelta(days=3)) == [(1, 3, 1, "10.00", 1, 1, 1, "lost")]
    assert segment(*events) == [(1, 0, 2, "19.00", 1, 1, 1, "lost")]


def test_a_customer_who_got_back_more_than_was_paid() -> None:
    events = [*KNOWN, order(), line(), refund(1, "12.00")]
    assert segment(*events)[0][3] == "-2.00"


def test_every_combination_has_one_segment() -> None:
    names = read_segments(SEGMENTS.read_text())
    fifths = range(1, 6)
    assert names.keys() == set(product(fifths, fifths, fifths))
    assert {names[5, 5, 5], names[5, 1, 1], names[1, 1, 1]} == {"champions", "new", "lost"}
    assert names[1, 5, 5] == "cannot lose"
    sentences = [row.split(",", 7)[7] for row in SEGMENTS.read_text().splitlines()[1:]]
    assert all(sentence.strip('"').endswith(".") for sentence in sentences)
    head = "segment,r_from,r_to,f_from,f_to,m_from,m_to,meaning"
    with pytest.raises(ValueError, match="is in a and in b"):
        read_segments(f"{head}\na,1,2,1,1,1,1,x\nb,2,2,1,1,1,1,x")


# --- stock


def test_o3_stock_is_the_sum_of_distinct_movements() -> None:
    moves = [
        move(1, 10, at("08:00"), "receipt"),
        move(2, -4, at("09:00")),
        move(3, -4, at("10:00")),
        move(4, 20, at("11:00"), "receipt"),
    ]
    # 10, 6, 2, 22: it falls to 5 or less at 10:00 and rises above at 11:00.
    expected = [(text("10:00"), text("11:00"), 2, 5)]
    for order_of_arrival in permutations(moves):
        events = [level(5), *order_of_arrival, *order_of_arrival[:2]]
        assert alerts(*events) == expected
        assert [row["on_hand"] for row in status(*events)] == [22]
    # It opens when it falls to the point itself.
    assert alerts(level(6), *moves) == [(text("09:00"), text("11:00"), 6, 6)]
    assert alerts(level(1), *moves) == []
    assert alerts(level(22), *moves) == [(text("08:00"), None, 10, 22)]


def test_an_alert_is_told_in_all_columns() -> None:
    sold = [move(n, -7, at("10:00", n)) for n in range(4)]
    [row] = found(level(10), move(9, 30, at("08:00"), "receipt"), *sold)["inventory_alerts"]
    assert row == {
        "product_id": 1,
        "warehouse": "east",
        "opened_at": text("10:00", 2),
        "on_hand": 9,
        "reorder_point": 10,
        "closed_at": None,
        # 14 were sold on the two days before, a half a day on average of 28.
        "days_of_cover": 18.0,
    }


def test_days_of_cover_are_of_28_whole_days_before() -> None:
    stock = move(1, 100, at("08:00", -40), "receipt")
    out = [move(2, -1000, at("23:59:59", -29)), move(3, -14, at("00:00", -28))]
    out += [move(4, -14, at("23:59:59", -1)), move(5, -500, at("00:00"))]
    [row] = status(stock, level(0), *out, move(6, -5, at("00:01"), "correction"))
    assert row["on_hand"] == 100 - 1000 - 28 - 500 - 5
    assert row["days_of_cover"] == -1433.0  # 28 in 28 days
    [row] = status(stock, out[1], out[2], click(1, "view", "2026-03-02T00:00:00Z"))
    assert (row["on_hand"], row["days_of_cover"]) == (72, 72.0)
    # Two days later the older one has left the 28 days.
    [row] = status(stock, out[1], out[2], click(1, "view", "2026-03-03T00:00:00Z"))
    assert (row["on_hand"], row["days_of_cover"]) == (72, 144.0)
    [row] = status(stock, click(1, "view"))
    assert (row["on_hand"], row["days_of_cover"]) == (100, None)


def test_days_of_cover_are_of_sales_alone() -> None:
    kinds = ("receipt", "return", "transfer", "correction")
    events = [move(n, -28, at("10:00", -2), kind) for n, kind in enumerate(kinds, 1)]
    events += [move(8, 5, at("11:00", -2)), click(1, "view")]  # a sale undone takes nothing
    assert [row["days_of_cover"] for row in status(*events)] == [None]


def test_o8_a_reorder_point_raised_above_the_stock_and_lowered_below_it() -> None:
    stock = move(1, 10, at("08:00"), "receipt")
    points = [level(5), level(10, at("12:00")), level(9, at("13:00"))]
    for order_of_arrival in permutations(points):
        assert alerts(stock, *order_of_arrival) == [(text("12:00"), text("13:00"), 10, 10)]


def test_o8_two_movements_of_one_instant() -> None:
    stock = [level(8), move(1, 10, at("08:00"), "receipt")]
    both = [move(2, -5, at("09:00")), move(3, 5, at("09:00"), "return")]
    for order_of_arrival in permutations(both):
        assert alerts(*stock, *order_of_arrival) == []
    assert alerts(*stock, both[0]) == [(text("09:00"), None, 5, 8)]
    twice = [move(2, -1, at("09:00")), move(3, -1, at("09:00"))]
    assert alerts(*stock, *twice) == [(text("09:00"), None, 8, 8)]
    # A movement and a new point of one instant, too.
    assert alerts(*stock, both[0], level(4, at("09:00"))) == []


def test_low_from_the_start_opens_when_both_are_known() -> None:
    few = move(1, 3, at("08:00"), "receipt")
    assert alerts(few, level(5, at("06:00"))) == [(text("08:00"), None, 3, 5)]
    assert alerts(few, level(5, at("09:00"))) == [(text("09:00"), None, 3, 5)]
    assert alerts(level(5)) == []
    assert alerts(few) == []


def test_a_reorder_point_that_goes_closes() -> None:
    few, point = move(1, 3, at("08:00"), "receipt"), level(5)
    closed = [(text("08:00"), text("12:00"), 3, 5)]
    assert alerts(few, point, level(None, at("12:00"))) == closed
    assert alerts(few, point, gone(level(5, at("12:00")))) == closed
    pulled = [saw(1, point, at("00:05")), saw(2, point, at("12:00"), is_gone=True)]
    assert alerts(few, *pulled) == closed


def test_negative_stock_stays_negative() -> None:
    events = [level(0), move(1, 2, at("08:00"), "receipt"), move(2, -5, at("09:00"))]
    assert alerts(*events) == [(text("09:00"), None, -3, 0)]
    rows = found(*events)["inventory_daily"]
    assert picked(rows, "opening", "closing") == [(0, -3)]


def test_a_transfer_between_warehouses() -> None:
    events = [level(3), level(3, warehouse="west"), move(1, 10, at("08:00"), "receipt")]
    events += [
        move(2, -8, at("09:00"), "transfer"),
        move(3, 8, at("09:00"), "transfer", warehouse="west"),
    ]
    rows = found(*events)["inventory_daily"]
    names = ("warehouse", "opening", "received", "issued", "sold", "closing")
    assert picked(rows, *names) == [("east", 0, 10, 8, 0, 2), ("west", 0, 8, 0, 0, 8)]
    assert alerts(*events) == [(text("09:00"), None, 2, 3)]


def test_a_movement_for_a_product_nobody_knows() -> None:
    rows = found(article(), move(1, 5, at("08:00"), "receipt", article=9))
    assert picked(rows["inventory_daily"], "product_id", "closing") == [(9, 5)]
    assert rows["unmatched"]["the product of a movement is not known"] == 1


def test_the_days_of_a_stock() -> None:
    events = [
        move(1, 10, at("08:00"), "receipt"),
        move(2, -2, at("09:00")),
        move(3, -1, at("10:00"), "correction"),
        move(4, 1, at("11:00"), "return"),
        move(5, 2, at("12:00")),  # a sale undone
        move(6, -4, at("08:00", 3)),
    ]
    rows = found(*events)["inventory_daily"]
    assert picked(rows, "date", "opening", "received", "issued", "sold", "closing") == [
        ("2026-03-02", 0, 13, 3, 2, 10),
        ("2026-03-05", 10, 0, 4, 4, 6),
    ]
    assert list(rows[0])[:4] == ["product_id", "warehouse", "date", "opening"]


def test_stock_now() -> None:
    events = [
        move(1, 5, at("08:00"), "receipt"),
        level(5),
        level(7, article=2),
        move(3, 5, at("09:00"), "receipt", article=3),
        level(None, article=4),
        move(4, 1, at("09:30"), "receipt", article=4),
    ]
    names = ("product_id", "as_of", "on_hand", "reorder_point", "is_low", "days_of_cover")
    now = text("09:30")
    assert picked(status(*events), *names) == [
        (1, now, 5, 5, True, None),
        (2, now, None, 7, None, None),
        (3, now, 5, None, None, None),
        (4, now, 1, None, None, None),
    ]
    assert status(level(7)) == [
        {
            "product_id": 1,
            "warehouse": "east",
            "as_of": None,
            "on_hand": None,
            "reorder_point": 7,
            "is_low": None,
            "days_of_cover": None,
        }
    ]


def test_stock_now_is_as_of_what_has_happened_and_takes_every_movement() -> None:
    events = [move(1, 9, at("08:00"), "receipt"), move(2, -3, at("09:00")), level(6, at("10:00"))]
    until = DAY + timedelta(hours=8, minutes=30)
    names = ("as_of", "on_hand", "reorder_point", "is_low")
    assert picked(status(*events, until=until), *names) == [(text("08:00"), 6, 6, True)]
    assert picked(status(*events), *names) == [(text("09:00"), 6, 6, True)]
    assert status(*events, until=DAY)[0]["as_of"] is None


def test_the_stock_says_nothing_of_a_level_that_is_gone() -> None:
    assert status(level(5), gone(level(5, at("12:00")))) == []


# --- clicks


def test_conversion_is_of_sessions() -> None:
    events = [
        *(click(1, "view"), click(2, "view"), click(3, "add"), click(4, "buy")),
        click(5, "view", session="t"),
        click(6, "buy", session="u"),  # bought without a look
        click(7, "view", session="v", article=2),
        click(8, "buy", session="v", article=3),  # bought something else
    ]
    names = ("product_id", "date", "views", "adds", "buys", "conversion_rate")
    assert picked(found(*events)["product_conversion"], *names) == [
        (1, "2026-03-02", 3, 1, 2, 0.5),
        (2, "2026-03-02", 1, 0, 0, 0.0),
        (3, "2026-03-02", 0, 0, 1, None),
    ]


def test_a_session_across_midnight() -> None:
    events = [click(1, "view", "2026-03-02T23:59:00Z"), click(2, "buy", "2026-03-03T00:01:00Z")]
    names = ("date", "views", "buys", "conversion_rate")
    assert picked(found(*events)["product_conversion"], *names) == [
        ("2026-03-02", 1, 0, 1.0),
        ("2026-03-03", 0, 1, None),
    ]


def test_the_same_click_id_twice_with_other_content() -> None:
    early = click(1, "view", "2026-03-02T09:00:00Z", article=1)
    late = click(1, "buy", "2026-03-02T10:00:00Z", article=2)
    for order_of_arrival in permutations([early, late, late]):
        rows = found(*order_of_arrival)
        assert picked(rows["product_conversion"], "product_id", "views", "buys") == [(1, 1, 0)]
        counts = rows["entity_counts"]["clicks"]
        assert (counts["events_in"], counts["accepted"], counts["duplicates"]) == (3, 2, 1)
        assert counts["conflicts"] == 1
    # At one moment the smaller sha256 of the content counts.
    rivals = [click(1, "view", article=n) for n in (1, 2, 3)]
    counts_by_digest = {digest_of(n): n for n in (1, 2, 3)}
    least = counts_by_digest[min(counts_by_digest)]
    for order_of_arrival in permutations(rivals):
        rows = found(*order_of_arrival)["product_conversion"]
        assert picked(rows, "product_id") == [(least,)]


def digest_of(article: int) -> str:
    texts = ("1", "s", None, str(article), "view", str(at("10:00")))
    content = ",".join("-" if one is None else f"{len(one)}:{one}" for one in texts)
    return sha256(content.encode()).hexdigest()


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("{", "the line is not one JSON object"),
        ("[]", "the line is not one JSON object"),
        ("{} {}", "the line is not one JSON object"),
        ('{"value": {}}', "topic is missing"),
        (envelope({}, topic=None), "the topic is null"),
        (envelope({}, topic="views"), "the topic is unknown"),
        ('{"topic": "clicks"}', "value is missing"),
        (envelope(None), "value is null"),
        (envelope("{} {}"), "value is not one JSON object"),
        (envelope([]), "value is not one JSON object"),
    ],
)
def test_what_is_no_click(written: str, reason: str) -> None:
    rows = found(click(1, "view"), Event(CLICKS, written))
    assert rows["reject_reasons"]["clicks"] == {reason: 1}
    assert rows["entity_counts"]["clicks"]["row_rejects"] == 1
    assert rows["product_conversion"][0]["views"] == 1


GOOD_CLICK = {
    **{"click_id": 1, "session_id": "s", "customer_id": 5, "product_id": 1},
    **{"action": "view", "clicked_at": "2026-03-02T10:00:00Z"},
}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"click_id": None}, "click_id is not a whole number"),
        ({"click_id": 1.5}, "click_id is not a whole number"),
        ({"session_id": None}, "session_id is missing"),
        ({"session_id": " "}, "session_id is missing"),
        ({"product_id": "x"}, "product_id is not a whole number"),
        ({"action": "like"}, "action is none of add, buy, view"),
        ({"clicked_at": "soon"}, "clicked_at is unreadable"),
        ({"clicked_at": "1.7724E+12"}, "clicked_at has too few digits"),
        ({"clicked_at": "1999-12-31T23:59:59Z"}, "clicked_at is before 2000-01-01"),
        ({"clicked_at": "2026-06-01T01:00:01Z"}, "clicked_at is in the future"),
    ],
)
def test_clicks_that_are_refused(change: Row, reason: str) -> None:
    rows = found(Event(CLICKS, envelope(GOOD_CLICK | change)))
    assert rows["reject_reasons"]["clicks"] == {reason: 1}
    assert rows["product_conversion"] == []


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"click_id": "1", "product_id": " 1 "},
        {"action": " VIEW "},
        {"clicked_at": 1772445600},
        {"clicked_at": 1772445600000},
        {"clicked_at": "2026-03-02T11:00:00+0100"},
    ],
)
def test_spellings_of_one_click(change: Row) -> None:
    rows = found(
        Event(CLICKS, envelope(json.dumps(GOOD_CLICK))),
        Event(CLICKS, envelope(GOOD_CLICK | change)),
    )
    counts = rows["entity_counts"]["clicks"]
    assert (counts["events_in"], counts["accepted"], counts["conflicts"]) == (2, 1, 0)


def test_a_click_with_a_wrong_field_stays() -> None:
    rows = found(
        Event(CLICKS, envelope(GOOD_CLICK | {"customer_id": "me"})),
        Event(CLICKS, json.dumps({"topic": "clicks", "value": GOOD_CLICK | {"click_id": 2}})),
        click(3, "view"),  # a visitor whom nobody knows
    )
    assert rows["reject_reasons"]["clicks"] == {
        "customer_id is not a whole number": 1,
        "missing: key, partition, offset, timestamp": 1,
    }
    assert rows["entity_counts"]["clicks"]["field_rejects"] == 2
    assert rows["product_conversion"][0]["views"] == 3


# --- state: files and pulls


def priced(*events: Event) -> list[int]:
    """The product's price at 01:00, 02:00 ... 08:00; 0 where it has none."""
    prices = []
    for hour in range(1, 9):
        sold = [order(when=at(f"{hour:02}:00")), line(price=None)]
        [row] = found(*events, *sold)["sales_by_region_product"]
        prices.append(int(Decimal(row["gross_sales"])))
    return prices


A, B = "1.00", "2.00"


def test_o6_a_row_pulled_as_a_then_as_b_then_as_a_again() -> None:
    states = [
        saw(1, article(price=A, when=at("02:00")), at("02:30")),
        saw(2, article(price=B, when=at("04:00")), at("04:30")),
        saw(3, article(price=A, when=at("06:00")), at("06:30")),
    ]
    for order_of_arrival in permutations(states):
        # The first also before; then three versions.
        assert priced(*order_of_arrival) == [1, 1, 1, 2, 2, 1, 1, 1]
    counts = found(*states)["entity_counts"]["products"]
    assert (counts["accepted"], counts["duplicates"]) == (3, 0)


def test_o6_absent_in_one_pull_and_back_in_the_next() -> None:
    row = order()
    states = [
        saw(1, row, at("10:05")),
        saw(2, row, at("11:00"), is_gone=True),
        saw(3, row, at("12:00")),
    ]
    for order_of_arrival in permutations(states):
        assert sales(*KNOWN, line(), *order_of_arrival) == ONE_SALE
        assert sales(*KNOWN, line(), *states[:2]) == []
    # Its price was unknown while it was gone.
    product_states = [
        saw(1, article(price=A, when=at("01:00")), at("01:30")),
        saw(2, article(price=A, when=at("01:00")), at("04:00"), is_gone=True),
        saw(3, article(price=A, when=at("01:00")), at("06:00")),
    ]
    assert priced(*product_states) == [1, 1, 1, 0, 0, 1, 1, 1]


def test_o6_a_clock_of_the_database_set_back_between_two_changes() -> None:
    states = [
        saw(1, article(price=A, when=at("02:00")), at("02:30")),
        saw(2, article(price=B, when=at("06:00")), at("06:30")),
        saw(3, article(price="3.00", when=at("03:00")), at("07:30")),
    ]
    for order_of_arrival in permutations(states):
        # The one pulled last is current, and begins no earlier than the one before it.
        assert priced(*order_of_arrival) == [1, 1, 1, 1, 1, 3, 3, 3]
    # Of two that begin at one moment so, the one pulled last is there alone.
    assert priced(*states[1:]) == [3] * 8
    back = saw(3, order(status="cancelled", changed=at("09:00")), at("12:30"))
    events = [saw(1, order(), at("10:05")), back]
    assert sales(*KNOWN, line(), *events) == []


def test_a_pulled_version_that_has_not_moved_begins_when_it_was_pulled() -> None:
    states = [
        saw(1, article(price=A, when=at("02:00")), at("02:30")),
        saw(2, article(price=B, when=at("02:00")), at("05:00")),
    ]
    assert priced(*states) == [1, 1, 1, 1, 2, 2, 2, 2]
    untold = [
        saw(1, article(price=A, when=None), at("02:30")),  # type: ignore[arg-type]
        saw(2, article(price=B, when=None), at("05:00")),  # type: ignore[arg-type]
    ]
    assert priced(*untold) == [1, 1, 1, 1, 2, 2, 2, 2]


def test_a_change_column_that_cannot_be_is_none() -> None:
    ahead = [
        saw(1, article(price=A, when=at("02:00")), at("02:30")),
        saw(2, article(price=B, when=at("00:00", 365)), at("05:00")),
        saw(3, article(price=A, when=at("06:00")), at("06:30")),
    ]
    assert priced(*ahead) == [1, 1, 1, 1, 2, 1, 1, 1]
    rows = found(*ahead)
    assert rows["reject_reasons"]["products"] == {"updated_at is in the future": 1}
    assert rows["entity_counts"]["products"]["accepted"] == 3


def test_a_row_pulled_again_as_it_was_is_a_duplicate() -> None:
    row = article(price=A, when=at("02:00"))
    states = [saw(n, row, at(f"{n + 2:02}:30")) for n in (1, 2, 3)]
    counts = found(*states, states[0])["entity_counts"]["products"]
    assert (counts["events_in"], counts["accepted"], counts["duplicates"]) == (4, 1, 3)
    other = saw(4, article(price=B, when=at("02:00")), at("07:00"))
    assert priced(*states, other) == [1] * 6 + [2] * 2


def test_o7_a_row_that_a_long_transaction_commits_late() -> None:
    others = [saw(1, move(2, -1, at("09:59")), at("10:00")), saw(1, level(0), at("10:00"))]
    # Written down at 09:30, committed after the pull of 10:00, found by the comparison of 11:00.
    late = move(1, 10, at("09:30"), "receipt")
    events = [*others, saw(2, late, at("11:00")), saw(2, others[0], at("11:00"))]
    rows = found(*events)
    assert picked(rows["inventory_daily"], "received", "sold", "closing") == [(10, 1, 9)]
    assert alerts(*others) == [(text("09:59"), None, -1, 0)]
    assert alerts(*events) == []
    assert rows["entity_counts"]["stock_movements"]["accepted"] == 2


def test_what_pulls_told_decides_where_a_file_told_it_too() -> None:
    by_file = [move(1, 5, at("08:00"), "receipt"), move(2, 7, at("08:00"), "receipt")]
    pulled = saw(1, move(1, 50, at("08:00"), "receipt"), at("08:30"))
    newer = move(1, 500, at("09:00"), "receipt")
    assert [row["on_hand"] for row in status(*by_file, newer, pulled)] == [57]
    is_gone = saw(2, move(1, 0, 0), at("09:30"), is_gone=True)
    assert [row["on_hand"] for row in status(*by_file, newer, pulled, is_gone)] == [7]


def test_a_pulled_row_that_cannot_be_read_takes_the_place_of_the_one_before() -> None:
    states = [saw(1, order(), at("10:05")), saw(2, order(status="lost"), at("11:00"))]
    rows = found(*KNOWN, line(), *states)
    assert rows["sales_by_region_product"] == []
    assert rows["reject_reasons"]["orders"] == {
        "status is none of cancelled, paid, placed, shipped": 1
    }
    again = saw(3, order(), at("12:00"))
    assert sales(*KNOWN, line(), *states, again) == ONE_SALE
    assert found(*states, again)["entity_counts"]["orders"]["accepted"] == 2


def test_rows_by_hand_are_ordered_by_their_change_column_then_by_content() -> None:
    rivals = [line(quantity=n) for n in (1, 2, 3)]
    judged = {digest(typed(row)): row.row["quantity"] for row in rivals}
    least = judged[min(judged)]
    for order_of_arrival in permutations(rivals):
        rows = found(*KNOWN, order(), *order_of_arrival)
        assert rows["sales_by_region_product"][0]["units"] == least
        assert rows["entity_counts"]["order_items"]["conflicts"] == 2
        # A later one counts, and of one moment a delete.
        later = line(quantity=9, when=at("10:30"))
        assert sales(*KNOWN, order(), *order_of_arrival, later)[0][2] == 9
        assert sales(*KNOWN, order(), *order_of_arrival, gone(line())) == []
    back = [line(), gone(line(when=at("10:30"))), line(quantity=5, when=at("11:00"))]
    for order_of_arrival in permutations(back):
        assert sales(*KNOWN, order(), *order_of_arrival)[0][2] == 5


def typed(event: Event) -> Any:
    judged = judge_rows(event.table, deliver([event]), Clock(0, micros(INGESTED)))
    [told] = judged.told
    return told.row


# --- rejects and accounts


def changed(event: Event, **changes: Any) -> Event:
    return Event(event.table, event.row | changes)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (changed(customer(), customer_id=None), "customer_id is missing"),
        (changed(customer(), updated_at=None), "updated_at is unreadable"),
        (changed(customer(), updated_at=at("00:00", 365)), "updated_at is in the future"),
        (changed(customer(), updated_at=0), "updated_at is before 2000-01-01"),
        (changed(article(), product_id=None), "product_id is missing"),
        (changed(order(), order_id=None), "order_id is missing"),
        (
            changed(order(), status="sent"),
            "status is none of cancelled, paid, placed, shipped",
        ),
        (changed(order(), status=None), "status is none of cancelled, paid, placed, shipped"),
        (changed(order(), ordered_at=None), "ordered_at is unreadable"),
        (changed(order(), ordered_at=at("00:00", 365)), "ordered_at is in the future"),
        (changed(line(), line=None), "line is missing"),
        (changed(line(), product_id=None), "product_id is missing"),
        (changed(line(), quantity=None), "quantity is not a number of pieces"),
        (changed(line(), quantity=-1), "quantity is not a number of pieces"),
        (changed(line(), quantity=1_000_001), "quantity is not a number of pieces"),
        (changed(refund(1, "1.00"), refund_id=None), "refund_id is missing"),
        (changed(refund(1, "1.00"), amount=None), "amount is not an amount of money"),
        (changed(refund(1, "1.00"), amount=Decimal(-1)), "amount is not an amount of money"),
        (changed(refund(1, "1.00"), refunded_at=0), "refunded_at is before 2000-01-01"),
        (changed(refund(1, "1.00"), recorded_at=None), "recorded_at is unreadable"),
        (changed(level(1), warehouse=" "), "warehouse is missing"),
        (changed(move(1, 1, at("08:00")), movement_id=None), "movement_id is missing"),
        (changed(move(1, 1, at("08:00")), warehouse=None), "warehouse is missing"),
        (
            changed(move(1, 1, at("08:00")), quantity=-1_000_001),
            "quantity is not a number of pieces",
        ),
        (changed(move(1, 1, at("08:00")), moved_at=None), "moved_at is unreadable"),
    ],
)
def test_rows_that_are_refused(event: Event, reason: str) -> None:
    rows = found(event)
    entity = event.table.partition(".")[2]
    assert rows["reject_reasons"][entity] == {reason: 1}
    counts = {"events_in": 1, "accepted": 0, "duplicates": 0, "row_rejects": 1}
    assert rows["entity_counts"][entity] == counts | {"field_rejects": 0, "conflicts": 0}
    assert rows["as_of"] is None
    assert not any(rows[mart] for mart in MARTS)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (changed(article(), unit_price=Decimal("-1.00")), "unit_price is not a price"),
        (changed(article(), unit_price=Decimal(1_000_000_001)), "unit_price is not a price"),
        (changed(line(), unit_price=Decimal("-1.00")), "unit_price is not a price"),
        (changed(refund(1, "1.00"), quantity=-1), "quantity is not a number of pieces"),
        (changed(level(1), reorder_point=-1), "reorder_point is not a number of pieces"),
        (
            changed(move(1, 1, at("08:00")), reason="theft"),
            "reason is none of correction, receipt, return, sale, transfer",
        ),
    ],
)
def test_rows_of_which_a_field_is_null_then(event: Event, reason: str) -> None:
    rows = found(event)
    entity = event.table.partition(".")[2]
    assert rows["reject_reasons"][entity] == {reason: 1}
    counts = {"events_in": 1, "accepted": 1, "duplicates": 0, "row_rejects": 0}
    assert rows["entity_counts"][entity] == counts | {"field_rejects": 1, "conflicts": 0}


def test_fields_that_cannot_be_read_are_as_if_they_were_not_told() -> None:
    odd_line = changed(line(), unit_price=Decimal("-1.00"))
    assert sales(*KNOWN, order(), odd_line) == ONE_SALE  # for the product's price
    few = changed(move(1, 3, at("08:00")), reason="theft")
    assert alerts(few, level(5)) == [(text("08:00"), None, 3, 5)]
    assert alerts(few, changed(level(5), reorder_point=-5)) == []
    # Nobody need tell a region, a price, a point or a reason.
    nulls = [customer(region=None), article(price=None), level(None)]
    nulls += [
        changed(move(1, 1, at("08:00")), reason=None),
        changed(refund(1, "1.00"), quantity=None),
    ]
    assert not any(of["field_rejects"] for of in found(*nulls)["entity_counts"].values())


def test_words_are_known_however_they_are_spelt() -> None:
    events = [changed(order(), status=" Cancelled "), line(), *KNOWN]
    assert sales(*events) == []
    rows = found(changed(move(1, -3, at("08:00")), reason="SALE"))["inventory_daily"]
    assert picked(rows, "sold") == [(3,)]


def test_the_report_is_as_of_the_latest_accepted_event() -> None:
    events = [
        *(order(1, at("10:00")), refund(1, "1.00", at("11:00")), move(1, 1, at("12:00"))),
        click(1, "view", "2026-03-02T13:00:00Z"),
    ]
    for number, when in enumerate(("10:00", "11:00", "12:00", "13:00"), 1):
        assert found(*events[:number])["as_of"] == text(when)
    # Neither a change, nor what is refused, moves it; and what has been changed since does.
    more = [customer(when=at("20:00")), order(1, at("10:00"), changed=at("21:00"))]
    more.append(changed(move(2, 1, at("23:00")), product_id=None))
    assert found(*events, *more)["as_of"] == text("13:00")
    moved = [order(2, at("14:00")), order(2, at("09:00"), changed=at("22:00"))]
    assert found(*events, *moved, gone(order(2, changed=at("23:00"))))["as_of"] == text("14:00")


def test_nothing_was_delivered() -> None:
    rows = found()
    assert not any(rows[mart] for mart in MARTS)
    assert rows["as_of"] is None
    assert rows["table_counts"][CLICKS] == {"events_in": 0}
    assert status() == []


# --- files


def parquet(table: str, rows: list[Row], **more: pa.DataType) -> bytes:
    schema = SCHEMAS[table]
    for name, kind in more.items():
        schema = schema.append(pa.field(name, kind))
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema), content)
    return content.getvalue()


def test_files_are_read() -> None:
    first, second = line().row, gone(line(when=at("10:30"))).row
    moved = {"_pull_key": "1", "_pull_id": 1, "_pulled_at": at("09:00"), "_op": "upsert"}
    kinds = {
        **{"_pull_key": pa.string(), "_pull_id": pa.int64()},
        **{"_pulled_at": pa.timestamp("us", tz="UTC"), "_op": pa.string()},
    }
    clicks = "\n".join([click(1, "view").row, "", click(2, "view").row])
    files = {
        ORDERS: [("a", parquet(ORDERS, [order().row]))],
        ORDER_ITEMS: [
            ("a", parquet(ORDER_ITEMS, [first])),
            ("again", parquet(ORDER_ITEMS, [first])),
            ("b", parquet(ORDER_ITEMS, [second], _op=pa.string())),
        ],
        f"{STOCK_MOVEMENTS}.pulled": [
            ("1", parquet(STOCK_MOVEMENTS, [move(1, 5, at("08:00")).row | moved], **kinds))
        ],
        CLICKS: [("a.json", clicks.encode()), ("b.json.gz", gzip.compress(clicks.encode()))],
    }
    read = read_contents(files)
    rows = answers(read, ingested_at=INGESTED)
    assert rows["sales_by_region_product"] == []  # the line is gone
    assert picked(rows["inventory_daily"], "closing") == [(5,)]
    counts = {entity: of["events_in"] for entity, of in rows["entity_counts"].items()}
    assert counts["order_items"] == 2
    assert counts["clicks"] == 4
    del files[ORDER_ITEMS][2]
    [row] = answers(read_contents(files), ingested_at=INGESTED)["sales_by_region_product"]
    assert (row["gross_sales"], row["region"]) == ("10.00", "unknown")


# --- order and doubling

hours = st.integers(0, 40).map(lambda hour: at("00:00") + hour * 3_600_000_000)
few = st.integers(1, 3)
words = st.sampled_from
events = st.one_of(
    st.builds(customer, few, words([None, "North", "South"]), hours),
    st.builds(article, few, words([None, "books", "gifts"]), words([None, "1.00", "2.50"]), hours),
    st.builds(order, few, hours, words(["placed", "paid", "cancelled", "?"]), hours, few),
    st.builds(line, few, few, few, st.integers(-1, 3), words([None, "1.00", "3.00"]), hours),
    st.builds(refund, few, words(["0.50", "9.00"]), hours, few, few),
    st.builds(level, words([None, 1, 5]), hours, few),
    st.builds(move, few, st.integers(-5, 5), hours, words(["sale", "return"]), few),
    st.builds(
        click,
        few,
        words(["view", "add", "buy"]),
        words(["2026-03-02T10:00:00Z", "2026-03-03T10:00:00Z"]),
        words(["s", "t"]),
        few,
    ),
).flatmap(
    lambda event: (
        st.just(event)
        if event.table == CLICKS
        else st.one_of(
            *(st.just(event), st.just(gone(event))),
            st.builds(
                lambda pull, is_gone: saw(pull, event, at("00:00", pull), is_gone=is_gone),
                st.integers(1, 5),
                st.booleans(),
            ),
        )
    )
)


def of_one_snapshot(event: Event) -> str:
    """A pull sees each key once."""
    if not event.is_pulled:
        return repr(event)
    key = [event.row[name] for name in KEYS[event.table]]
    return f"{event.table} {key} {event.row['_pull_id']}"


@given(st.lists(events, max_size=25, unique_by=of_one_snapshot), st.randoms(use_true_random=False))
def test_neither_order_nor_doubling_of_events_matters(told: list[Event], dice: Random) -> None:
    again = [*told, *dice.sample(told, len(told) // 2)]
    dice.shuffle(again)
    once, twice = found(*told), found(*again)
    for name in (*MARTS, "unmatched", "refunded_beyond", "as_of"):
        assert once[name] == twice[name], name
    assert status(*told) == status(*again)
    for entity, counts in once["entity_counts"].items():
        of_twice = twice["entity_counts"][entity]
        for name in ("accepted", "conflicts"):
            assert counts[name] == of_twice[name]
        for of in (counts, of_twice):
            assert of["events_in"] == of["accepted"] + of["duplicates"] + of["row_rejects"]
