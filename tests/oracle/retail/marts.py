"""What the shop's marts must hold for given deliveries, worked out apart from Spark and SQL.

    delivered files, pulls --rows--> what each row says --states--> what counts --> the answers

Simple and slow: nothing depends on the order of arrival. The cases O1 to O9 that the comments name
are told in `tests/unit/test_retail_answers.py`.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from generators.retail.tables import (
    CLICKS,
    CUSTOMERS,
    ORDER_ITEMS,
    ORDERS,
    PRODUCTS,
    REFUNDS,
    STOCK_LEVELS,
    STOCK_MOVEMENTS,
)
from tests.oracle.retail.rows import (
    MAX_CLOCK_SKEW,
    MOST_WORTH,
    TABLES,
    Click,
    Clock,
    Customer,
    Deliveries,
    Item,
    Judged,
    Level,
    Movement,
    Order,
    Product,
    Refund,
    judge_clicks,
    judge_rows,
    micros,
    moment,
)
from tests.oracle.retail.states import States, distinct

MARTS: Final = (
    "sales_by_region_product",
    "customer_segments",
    "inventory_alerts",
    "inventory_daily",
    "product_conversion",
)
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""What is told of an earlier time, a clock told that was never set."""
COVER_DAYS: Final = 28
"""So many whole days before a moment say how much is sold."""
SEGMENTS: Final = Path(__file__).parents[3] / "seeds" / "retail" / "rfm_segments.csv"
UNKNOWN: Final = "unknown"
NOTHING: Final = Decimal("0.00")

Row: TypeAlias = dict[str, Any]
Pair: TypeAlias = tuple[int, str]
"""A product and a warehouse."""


@dataclass(frozen=True)
class _Shop:
    """All that counts, and the time zone of the reports."""

    customers: States[Customer]
    products: States[Product]
    orders: States[Order]
    items: States[Item]
    refunds: States[Refund]
    levels: States[Level]
    movements: States[Movement]
    clicks: Sequence[Click]
    zone: ZoneInfo

    def day(self, at: int) -> date:
        """The local date of a moment."""
        return moment(at).astimezone(self.zone).date()

    def counted_orders(self) -> dict[int, Order]:
        """The orders that count, by their number: those that are there and not cancelled (O2)."""
        return {
            order.order: order for order in self.orders.now.values() if order.status != "cancelled"
        }

    def region(self, order: Order) -> str:
        """The region of the order's customer at its moment (O4)."""
        known = self.customers.at(order.customer, moment=order.ordered_at)
        return (known and known.region) or UNKNOWN

    def category(self, item: Item, order: Order) -> str:
        """The category of the line's product at the order's moment."""
        known = self.products.at(item.product, moment=order.ordered_at)
        return (known and known.category) or UNKNOWN

    def gross(self, item: Item, order: Order) -> Decimal | None:
        """What the line sells for; None where neither it nor its product has a price (O4)."""
        price = item.price
        if price is None:
            known = self.products.at(item.product, moment=order.ordered_at)
            price = known.price if known else None
            if price is not None and item.quantity * price > MOST_WORTH:
                return None
        return None if price is None else item.quantity * price


# --- sales_by_region_product


@dataclass
class _Sales:
    """What is sold of a product in a region on a day."""

    orders: set[int] = field(default_factory=set)
    units: int = 0
    gross: Decimal = NOTHING
    refunds: Decimal = NOTHING
    lines_without_price: int = 0


def _sales_by_region_product(shop: _Shop) -> list[Row]:
    counted = shop.counted_orders()
    sales: dict[tuple[date, str, int, str], _Sales] = defaultdict(_Sales)

    def place(item: Item, order: Order, at: int) -> _Sales:
        region, category = shop.region(order), shop.category(item, order)
        return sales[shop.day(at), region, item.product, category]

    for item in shop.items.now.values():
        order = counted.get(item.order)
        if order is None:
            continue
        sold, gross = place(item, order, order.ordered_at), shop.gross(item, order)
        sold.orders.add(order.order)
        sold.units += item.quantity
        sold.gross += gross or NOTHING
        sold.lines_without_price += gross is None
    for refund, item, order in _counted_refunds(shop):
        place(item, order, refund.refunded_at).refunds += refund.amount
    return [
        {
            "date": day,
            "region": region,
            "product_id": product,
            "category": category,
            "orders": len(sold.orders),
            "units": sold.units,
            "gross_sales": sold.gross,
            "refunds": sold.refunds,
            "net_sales": sold.gross - sold.refunds,
            "lines_without_price": sold.lines_without_price,
        }
        for (day, region, product, category), sold in sorted(sales.items())
    ]


def _counted_refunds(shop: _Shop) -> list[tuple[Refund, Item, Order]]:
    """The refunds of lines that are there, of orders that count, in full (O2)."""
    counted = shop.counted_orders()
    return [
        (refund, shop.items.now[refund.order, refund.line], counted[refund.order])
        for refund in shop.refunds.now.values()
        if refund.order in counted and (refund.order, refund.line) in shop.items.now
    ]


# --- customer_segments


class _Value(NamedTuple):
    """What a customer's counted orders come to."""

    recency_days: int
    frequency: int
    monetary: Decimal
    order_days: int
    first_ordered_on: date


def _customer_segments(shop: _Shop, as_of: int | None) -> list[Row]:
    """Of all customers that there are, or of whom there is an order."""
    values = _values(shop, as_of) if as_of is not None else {}
    # The worst comes first.
    r = _fifths({customer: -value.recency_days for customer, value in values.items()})
    f = _fifths({customer: value.frequency for customer, value in values.items()})
    m = _fifths({customer: value.monetary for customer, value in values.items()})
    segments = read_segments(SEGMENTS.read_text())
    known = {customer for (customer,) in shop.customers.now}
    known |= {order.customer for order in shop.orders.now.values() if order.customer is not None}
    rows = []
    for customer in sorted(known):
        value = values.get(customer)
        edges = (r[customer], f[customer], m[customer]) if value else (None, None, None)
        rows.append(
            {
                "customer_id": customer,
                "recency_days": value and value.recency_days,
                "frequency": value and value.frequency,
                "monetary": value and value.monetary,
                "r": edges[0],
                "f": edges[1],
                "m": edges[2],
                "segment": segments[edges] if value else "no orders",  # O9
                "order_days": value and value.order_days,
                "first_ordered_on": value and value.first_ordered_on,
            }
        )
    return rows


def _values(shop: _Shop, as_of: int) -> dict[int | None, _Value]:
    """Of each customer with a counted order, what these come to up to the report time."""
    orders = {
        number: order
        for number, order in shop.counted_orders().items()
        if order.ordered_at <= as_of and order.customer is not None
    }
    money: dict[int | None, Decimal] = defaultdict(lambda: NOTHING)
    for item in shop.items.now.values():
        if item.order in orders:
            order = orders[item.order]
            money[order.customer] += shop.gross(item, order) or NOTHING
    for refund, _, order in _counted_refunds(shop):
        if order.order in orders and refund.refunded_at <= as_of:
            money[order.customer] -= refund.amount
    days: dict[int | None, list[date]] = defaultdict(list)
    for order in orders.values():
        days[order.customer].append(shop.day(order.ordered_at))
    return {
        customer: _Value(
            recency_days=(shop.day(as_of) - max(ordered_on)).days,
            frequency=len(ordered_on),
            monetary=money[customer],
            order_days=len(set(ordered_on)),
            first_ordered_on=min(ordered_on),
        )
        for customer, ordered_on in days.items()
    }


def _fifths(measures: Mapping[int | None, Any]) -> dict[int | None, int]:
    """least(5, 1 + floor(5 x percent_rank)) of each customer's measure; equals are equal (O5)."""
    ordered = sorted(measures.values())
    others = max(len(ordered) - 1, 1)
    return {
        customer: min(5, 1 + 5 * bisect_left(ordered, measure) // others)
        for customer, measure in measures.items()
    }


def read_segments(text: str) -> dict[tuple[int | None, int | None, int | None], str]:
    """The name of the segment of each r, f and m.

    Args:
        text: CSV with segment, r_from, r_to, f_from, f_to, m_from, m_to.

    Raises:
        ValueError: Two rows have one combination.
    """
    names: dict[tuple[int | None, int | None, int | None], str] = {}
    for row in csv.DictReader(text.splitlines()):
        r, f, m = (range(int(row[f"{of}_from"]), int(row[f"{of}_to"]) + 1) for of in "rfm")
        for edges in ((of_r, of_f, of_m) for of_r in r for of_f in f for of_m in m):
            if edges in names:
                raise ValueError(f"{edges} is in {names[edges]} and in {row['segment']}")
            names[edges] = row["segment"]
    return names


# --- inventory


def _movements_of(shop: _Shop) -> dict[Pair, list[Movement]]:
    """The movements of each product in each warehouse that has one, in the order of time (O3)."""
    found: dict[Pair, list[Movement]] = defaultdict(list)
    for movement in shop.movements.now.values():
        found[movement.product, movement.warehouse].append(movement)
    return {
        pair: sorted(found[pair], key=lambda movement: (movement.moved_at, movement.movement))
        for pair in sorted(found)
    }


def _sold(movements: Iterable[Movement]) -> int:
    """What sales took."""
    return sum(-one.quantity for one in movements if one.reason == "sale" and one.quantity < 0)


def _days_of_cover(
    shop: _Shop, movements: Sequence[Movement], on_hand: int, at: int
) -> float | None:
    """How long the stock lasts if as much is sold as on average of the days before; None: none."""
    today = shop.day(at)
    since = today - timedelta(days=COVER_DAYS)
    sold = _sold(one for one in movements if since <= shop.day(one.moved_at) < today)
    return on_hand * COVER_DAYS / sold if sold else None


def _inventory_daily(shop: _Shop) -> list[Row]:
    rows = []
    for (product, warehouse), movements in _movements_of(shop).items():
        opening = 0
        for day, of_day in groupby(movements, key=lambda one: shop.day(one.moved_at)):
            moved = list(of_day)
            received = sum(one.quantity for one in moved if one.quantity > 0)
            issued = sum(-one.quantity for one in moved if one.quantity < 0)
            closing = opening + received - issued
            rows.append(
                {
                    "product_id": product,
                    "warehouse": warehouse,
                    "date": day,
                    "opening": opening,
                    "received": received,
                    "issued": issued,
                    "sold": _sold(moved),
                    "closing": closing,
                }
            )
            opening = closing
    return rows


def _inventory_alerts(shop: _Shop) -> list[Row]:
    return [
        alert
        for pair, movements in _movements_of(shop).items()
        for alert in _alerts_of(shop, pair, movements)
    ]


def _alerts_of(shop: _Shop, pair: Pair, movements: Sequence[Movement]) -> list[Row]:
    """An alert opens at the instant after which the stock is low, and closes after which not.

    All movements of an instant are added up before it is looked at (O8). Of a stock without a
    movement and of a reorder point before its first version nothing is known.
    """
    moved: Counter[int] = Counter()
    for movement in movements:
        moved[movement.moved_at] += movement.quantity
    levels = {
        version.begin: version.row and version.row.reorder_point
        for version in shop.levels.versions.get(pair, ())
    }
    alerts: list[Row] = []
    on_hand: int | None = None
    reorder_point: int | None = None
    is_low = False
    for instant in sorted({*moved, *levels}):
        if instant in moved:
            on_hand = (on_hand or 0) + moved[instant]
        if instant in levels:
            reorder_point = levels[instant]
        was_low = is_low
        is_low = on_hand is not None and reorder_point is not None and on_hand <= reorder_point
        if is_low and not was_low:
            alerts.append(
                {
                    "product_id": pair[0],
                    "warehouse": pair[1],
                    "opened_at": moment(instant),
                    "on_hand": on_hand,
                    "reorder_point": reorder_point,
                    "closed_at": None,
                    "days_of_cover": _days_of_cover(shop, movements, on_hand or 0, instant),
                }
            )
        elif was_low and not is_low:
            alerts[-1]["closed_at"] = moment(instant)
    return alerts


def _stock_status(shop: _Shop, as_of: int | None) -> list[Row]:
    """The stock takes every accepted movement, also one later than `as_of`."""
    of_pairs = _movements_of(shop)
    rows = []
    for pair in sorted({*of_pairs, *shop.levels.now}):
        movements, level = of_pairs.get(pair, []), shop.levels.now.get(pair)
        on_hand = sum(one.quantity for one in movements) if movements else None
        reorder_point = level.reorder_point if level else None
        is_low = cover = None
        if on_hand is not None and reorder_point is not None:
            is_low = on_hand <= reorder_point
        if on_hand is not None and as_of is not None:
            cover = _days_of_cover(shop, movements, on_hand, as_of)
        rows.append(
            {
                "product_id": pair[0],
                "warehouse": pair[1],
                "as_of": None if as_of is None else moment(as_of),
                "on_hand": on_hand,
                "reorder_point": reorder_point,
                "is_low": is_low,
                "days_of_cover": cover,
            }
        )
    return rows


# --- product_conversion


def _product_conversion(shop: _Shop) -> list[Row]:
    clicks: dict[tuple[int, date], list[Click]] = defaultdict(list)
    for click in shop.clicks:
        clicks[click.product, shop.day(click.clicked_at)].append(click)
    bought = {(click.product, click.session) for click in shop.clicks if click.action == "buy"}
    rows = []
    for (product, day), of_day in sorted(clicks.items()):
        actions = Counter(click.action for click in of_day)
        viewed = {click.session for click in of_day if click.action == "view"}
        # On whatever day the session bought it.
        converted = [session for session in viewed if (product, session) in bought]
        rows.append(
            {
                "product_id": product,
                "date": day,
                "views": actions["view"],
                "adds": actions["add"],
                "buys": actions["buy"],
                "conversion_rate": len(converted) / len(viewed) if viewed else None,
            }
        )
    return rows


# --- audit


def _unmatched(shop: _Shop) -> dict[str, int]:
    """What waits for something that is not known (yet), counted by reason."""

    def count(rows: Iterable[Any], waits: Callable[[Any], bool]) -> int:
        return sum(1 for row in rows if waits(row))

    customers, products = shop.customers.ever, shop.products.ever
    orders, items = shop.orders.ever, shop.items.ever
    return {
        "the customer of an order is not known": count(
            shop.orders.now.values(),
            lambda one: one.customer is not None and (one.customer,) not in customers,
        ),
        "the order of a line is not known": count(
            shop.items.now.values(), lambda one: (one.order,) not in orders
        ),
        "the product of a line is not known": count(
            shop.items.now.values(), lambda one: (one.product,) not in products
        ),
        "the order of a refund is not known": count(
            shop.refunds.now.values(), lambda one: (one.order,) not in orders
        ),
        "the line of a refund is not known": count(
            shop.refunds.now.values(),
            lambda one: (one.order,) in orders and (one.order, one.line) not in items,
        ),
        "the product of a movement is not known": count(
            shop.movements.now.values(), lambda one: (one.product,) not in products
        ),
        "the product of a click is not known": count(
            shop.clicks, lambda one: (one.product,) not in products
        ),
    }


def _refunded_beyond(shop: _Shop) -> list[Row]:
    """Lines of which more was given back than they sold for."""
    refunded: dict[tuple[int, int], Decimal] = defaultdict(lambda: NOTHING)
    sold: dict[tuple[int, int], Decimal] = {}
    for refund, item, order in _counted_refunds(shop):
        gross = shop.gross(item, order)
        if gross is not None:
            refunded[item.order, item.line] += refund.amount
            sold[item.order, item.line] = gross
    return [
        {"order_id": order, "line": line, "sold": sold[order, line], "refunded": amount}
        for (order, line), amount in sorted(refunded.items())
        if amount > sold[order, line]
    ]


# --- all of it


def _judge(deliveries: Deliveries, ingested_at: datetime, earliest: datetime) -> dict[str, Judged]:
    clock = Clock(micros(earliest), micros(ingested_at + MAX_CLOCK_SKEW))
    judged = {table: judge_rows(table, deliveries, clock) for table in TABLES}
    return judged | {CLICKS: judge_clicks(deliveries.clicks, clock)}


def _shop(judged: Mapping[str, Judged], timezone: str) -> tuple[_Shop, dict[str, int]]:
    """What counts, and by table the number of conflicts."""
    states: dict[str, States[Any]] = {table: States(judged[table].told) for table in TABLES}
    clicks, num_losers = distinct(judged[CLICKS].told)
    shop = _Shop(
        customers=states[CUSTOMERS],
        products=states[PRODUCTS],
        orders=states[ORDERS],
        items=states[ORDER_ITEMS],
        refunds=states[REFUNDS],
        levels=states[STOCK_LEVELS],
        movements=states[STOCK_MOVEMENTS],
        clicks=clicks,
        zone=ZoneInfo(timezone),
    )
    conflicts = {table: of_table.conflicts for table, of_table in states.items()}
    return shop, conflicts | {CLICKS: num_losers}


def _latest(judged: Mapping[str, Judged], until: int | None = None) -> int | None:
    """The latest accepted event up to a moment, whatever has become of its row since."""
    times: list[int] = [
        getattr(told.row, name)
        for table, name in (
            *((ORDERS, "ordered_at"), (REFUNDS, "refunded_at")),
            (STOCK_MOVEMENTS, "moved_at"),
        )
        for told in judged[table].told
        if told.row is not None
    ]
    times += [click.clicked_at for click in judged[CLICKS].told]
    return max((at for at in times if until is None or at <= until), default=None)


def answers(
    deliveries: Deliveries,
    *,
    ingested_at: datetime,
    as_of: datetime | None = None,
    timezone: str = "UTC",
    earliest: datetime = EARLIEST,
) -> dict[str, Any]:
    """Works out what the marts must hold.

    Args:
        deliveries: The delivered rows, in any order.
        ingested_at: When they were taken in; times more than an hour after it are refused.
        as_of: The time of the report; None: of the latest accepted event.
        timezone: The IANA zone in which dates are taken.
        earliest: The first time that is believed.

    Returns:
        The rows of each of `MARTS`, sorted by their key, as JSON has them; by entity
        `entity_counts`, `reject_reasons` (of rows and of fields); `table_counts` by full table
        name; `unmatched` by reason; `refunded_beyond`, lines of which more was given back than
        they sold for; and `as_of`.
    """
    judged = _judge(deliveries, ingested_at, earliest)
    shop, conflicts = _shop(judged, timezone)
    report_at = micros(as_of) if as_of else _latest(judged)
    marts = {
        "sales_by_region_product": _sales_by_region_product(shop),
        "customer_segments": _customer_segments(shop, report_at),
        "inventory_alerts": _inventory_alerts(shop),
        "inventory_daily": _inventory_daily(shop),
        "product_conversion": _product_conversion(shop),
    }
    names = {table: table.partition(".")[2] for table in judged}
    entity_counts = {
        names[table]: {
            **{
                name: of_table.counts[name]
                for name in (
                    *("events_in", "accepted", "duplicates"),
                    *("row_rejects", "field_rejects"),
                )
            },
            "conflicts": conflicts[table],
        }
        for table, of_table in judged.items()
    }
    return {
        **{name: plain(rows) for name, rows in marts.items()},
        "entity_counts": entity_counts,
        "table_counts": {
            table: {"events_in": of_table.counts["events_in"]} for table, of_table in judged.items()
        },
        "reject_reasons": {names[table]: dict(judged[table].reasons) for table in judged},
        "unmatched": _unmatched(shop),
        "refunded_beyond": plain(_refunded_beyond(shop)),
        "as_of": None if report_at is None else _plain(moment(report_at)),
    }


def stock_status(
    deliveries: Deliveries,
    *,
    ingested_at: datetime,
    until: datetime | None = None,
    timezone: str = "UTC",
    earliest: datetime = EARLIEST,
) -> list[Row]:
    """Works out what the live view of the stock must hold.

    Args:
        deliveries: As `answers` takes them, like all the others but one.
        ingested_at: See there.
        until: The end of the last closed load: the view is as of the latest accepted event that is
            not later; None: of the latest.
        timezone: See there.
        earliest: See there.

    Returns:
        A row for each product and warehouse with a movement or a level, sorted, as JSON has them.
    """
    judged = _judge(deliveries, ingested_at, earliest)
    shop, _ = _shop(judged, timezone)
    return plain(_stock_status(shop, _latest(judged, micros(until) if until else None)))


def plain(rows: Iterable[Row]) -> list[Row]:
    """Rows as JSON has them: times as UTC text with microseconds, dates and money as text too."""
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, Decimal):
        return f"{value:.2f}"
    return value.isoformat() if isinstance(value, date) else value
