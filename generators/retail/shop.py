"""What happens in the shop, a period after the other: rows of its tables in the story's order.

    customers, products, levels -> periods (the days, then the busy minutes) -> rows

What a period begins and a later one ends (a payment, a parcel, a refund) waits in between, so that
memory grows with the days that a refund takes, not with the story. Every column hangs on (seed,
table, column, period) alone. Times within the story are whole microseconds from its start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from faker import Faker
from numpy.typing import NDArray

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

FIRST_CUSTOMER: Final = 5001
FIRST_PRODUCT: Final = 301
FIRST_ORDER: Final = 100_001
FIRST_REFUND: Final = 50_001
FIRST_MOVEMENT: Final = 700_001
FIRST_CLICK: Final = 1_000_001
FIRST_SESSION: Final = 10_000_010
UNKNOWN_PRODUCT: Final = 300
"""Is moved now and then, and nobody knows it."""
SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
BUSY_PERIOD: Final = 5 * MINUTE
NEVER: Final = 2**62
REGIONS: Final = ("North", "South", "Coast", "Lakes", "Hills", "Plains", "Islands", "Capital")
RENAMED: Final = 3
"""The region that has another name from 55 % of the story on."""
NEW_NAME: Final = "Great Lakes"
WAREHOUSES: Final = ("east", "west", "harbour")
CATEGORIES: Final = ("books", "garden", "kitchen", "toys", "sport", "office", "light", "music")
PEAKS: Final = (12, 5, 11, 12, 6, 9, 11, 7)
"""The month in which most is sold of each category."""
HOURS: Final = (2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 9, 10, 9, 8, 8, 9, 10, 12, 14, 14, 11, 7, 4)
"""How much happens in each hour of a day, UTC."""
WEEKDAYS: Final = (1.0, 0.9, 0.9, 1.0, 1.1, 1.3, 1.2)
ORDERS_PER_CUSTOMER: Final = 0.05
"""A day."""
STATUSES: Final = ("placed", "paid", "shipped", "cancelled")
PLACED, PAID, SHIPPED, CANCELLED = range(4)
REASONS: Final = ("sale", "return", "receipt", "transfer", "correction")
SALE, RETURN, RECEIPT, TRANSFER, CORRECTION = range(5)
ACTIONS: Final = ("view", "add", "buy")
VIEW, ADD, BUY = range(3)
MADE_UP: Final = 2000
"""So many names are made up; more customers share them."""

CLICK_SCHEMA: Final = pa.schema(
    {
        "click_id": pa.int64(),
        "session_id": pa.string(),
        "customer_id": pa.int64(),
        "product_id": pa.int64(),
        "action": pa.string(),
        "clicked_at": pa.timestamp("us", tz="UTC"),
    }
)
TOLD_SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    table: schema.append(pa.field("_op", pa.string()))
    for table, schema in (*SCHEMAS.items(), (CLICKS, CLICK_SCHEMA))
}
"""The columns of each table, and `_op`: `delete` where the row is gone."""

Ints: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True)
class Story:
    """Who and when: `days` days, and after them `minutes` minutes in which the shop is busy."""

    seed: int
    days: int
    minutes: int
    customers: int
    start: datetime

    @property
    def length(self) -> int:
        """In microseconds."""
        return self.days * DAY + self.minutes * MINUTE

    @property
    def products(self) -> int:
        """How many are sold; more customers want more of them, up to 2,000."""
        return min(12 + self.customers // 10, 2000)

    def dice(self, table: str, column: str, period: int = -1) -> np.random.Generator:
        """The column's own randomness in a period; -1: of what is known at the start."""
        key = f"{self.seed}/{table}/{column}/{period}".encode()
        return np.random.default_rng(int.from_bytes(blake2b(key, digest_size=16).digest(), "big"))

    @cached_property
    def _since(self) -> int:
        return (self.start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)

    def instants(self, at: Ints) -> pa.Array:
        """Moments of the story as times."""
        return pa.array(at + self._since).cast(pa.timestamp("us", tz="UTC"))


@dataclass(frozen=True)
class Period:
    """A day, or five of the busy minutes; `orders` are expected in it."""

    number: int
    begin: int
    end: int
    is_busy: bool
    orders: float


class Told(NamedTuple):
    """Rows of a table by `TOLD_SCHEMAS`, and the moment at which each is told."""

    rows: pa.Table
    at: Ints


def periods(story: Story) -> Iterator[Period]:
    """The periods of a story, in order; more is ordered at weekends and towards the winter."""
    for day in range(story.days):
        noon = story.start + timedelta(days=day, hours=12)
        season = 1 + 0.25 * np.cos(2 * np.pi * (noon.timetuple().tm_yday - 345) / 365)
        expected = story.customers * ORDERS_PER_CUSTOMER * season * WEEKDAYS[noon.weekday()]
        yield Period(day, day * DAY, (day + 1) * DAY, False, float(expected))
    number, begin = story.days, story.days * DAY
    while begin < story.length:
        end = min(begin + BUSY_PERIOD, story.length)
        expected = max(6.0, story.customers / 50) * (end - begin) / MINUTE
        yield Period(number, begin, end, True, expected)
        number, begin = number + 1, end


def _whole(values: Floats) -> Ints:
    return np.rint(values).astype(np.int64)


def money(cents: Ints) -> pa.Array:
    """Amounts from whole cents; null where they are negative."""
    whole = pa.array(cents, mask=cents < 0).cast(pa.decimal128(19, 0))
    return pa.Array.from_buffers(pa.decimal128(18, 2), len(whole), whole.buffers())


def _words(indices: Ints, words: tuple[str, ...]) -> pa.Array:
    """The words at these places; null at -1."""
    places = pa.array(indices, pa.int32(), mask=indices < 0)
    return pa.DictionaryArray.from_arrays(places, pa.array(words)).dictionary_decode()


class _Customers:
    """Who may order from when to when, and how much; their rows."""

    def __init__(self, story: Story) -> None:
        self._story = story
        size = story.customers
        number = np.arange(size)

        def share(column: str) -> Floats:
            return story.dice(CUSTOMERS, column).random(size)

        length = story.length
        joined = -_whole((1 + 700 * share("joined")) * DAY) // SECOND * SECOND
        joins = number % 10 >= 7  # in the story
        joined[joins] = _whole(length * share("joins"))[joins]
        self._known_from = joined.copy()
        comes_late = joins & (number % 3 == 2)  # a day after the first order may be placed
        self._known_from[comes_late] += DAY
        leaves = number % 41 == 11
        self._gone_from = np.where(leaves, _whole(length * (0.7 + 0.2 * share("gone"))), NEVER)
        fades = number % 5 == 1
        until = np.where(fades, _whole(length * (0.2 + 0.2 * share("fades"))), NEVER)
        self._until = np.minimum(until, self._gone_from)
        self._from = joined
        self._weights = story.dice(CUSTOMERS, "weight").lognormal(0, 1, size)
        self._weights[number % 11 == 3] = 0  # never order
        self.warehouse = number % len(WAREHOUSES)

    def drawn(self, period: Period, size: int) -> Ints:
        """Draws who orders in a period; what makes the shop busy has been told to few."""
        weights = self._weights * ((self._from < period.end) & (self._until > period.begin))
        if period.is_busy:
            weights[np.arange(len(weights)) % 5 > 0] = 0
        if not weights.sum():
            weights = np.ones(len(weights))
        dice = self._story.dice(ORDERS, "customer", period.number)
        return dice.choice(len(weights), size, p=weights / weights.sum()).astype(np.int64)

    def newcomers(self, period: Period) -> tuple[Ints, Ints]:
        """Who orders for the first time in a period, and when."""
        is_new = (self._from > period.begin) & (self._from <= period.end) & (self._weights > 0)
        new = np.flatnonzero(is_new)
        return new, self._from[new]

    def told(self) -> Told:
        """Their rows: some move, some have no region, a region is renamed, some leave."""
        story, number = self._story, np.arange(self._story.customers)
        dice = story.dice(CUSTOMERS, "region")
        home = dice.integers(0, len(REGIONS), len(number))
        home[number % 13 == 7] = -1
        away = dice.integers(0, len(REGIONS), len(number))
        moves = number % 6 == 2
        drawn = story.dice(CUSTOMERS, "moved").random(len(number))
        moved = np.where(moves, _whole(story.length * (0.1 + 0.8 * drawn)), NEVER)
        moved = np.where(moved > self._known_from, moved, NEVER)
        renamed = story.length * 55 // 100
        at_renaming = np.where(moved <= renamed, away, home)
        is_renamed = (at_renaming == RENAMED) & (self._known_from < renamed)
        # What would happen after somebody has left does not.
        parts: list[tuple[Ints, Ints, Ints, bool]] = [(number, home, self._known_from, False)]
        for happens, region, at, is_gone in (
            (moved < np.minimum(self._gone_from, story.length), away, moved, False),
            (
                is_renamed & (renamed < self._gone_from),
                at_renaming,
                np.full(len(number), renamed),
                False,
            ),
            (
                (self._gone_from < NEVER) & (self._known_from < self._gone_from),
                home,
                self._gone_from,
                True,
            ),
        ):
            parts.append((number[happens], region[happens], at[happens], is_gone))
        who, region, at = (np.concatenate([part[column] for part in parts]) for column in range(3))
        goes = np.concatenate([np.full(len(part[0]), part[3]) for part in parts])
        region = np.where((region == RENAMED) & (at >= renamed), len(REGIONS), region)
        names = self._names(story)
        texts = [names[n % MADE_UP] for n in who.tolist()]
        mails = [
            f"{name.split()[-1].lower()}.{FIRST_CUSTOMER + n}@example.com"
            for name, n in zip(texts, who.tolist(), strict=True)
        ]
        rows = {
            "customer_id": FIRST_CUSTOMER + who,
            "name": texts,
            "email": mails,
            "region": _words(region, (*REGIONS, NEW_NAME)),
            "updated_at": story.instants(at),
            "_op": _words(np.where(goes, 0, -1), ("delete",)),
        }
        return _told(CUSTOMERS, rows, np.maximum(at, 0))

    @staticmethod
    def _names(story: Story) -> list[str]:
        fake = Faker("en_US")
        fake.seed_instance(f"{story.seed}/name")
        return [fake.name() for _ in range(min(story.customers, MADE_UP))]


class _Products:
    """What is sold, how much of it, and for how much from when on."""

    def __init__(self, story: Story) -> None:
        self._story = story
        size = story.products
        number = np.arange(size)
        dice = story.dice(PRODUCTS, "price")
        cents = np.maximum(_whole(100 * dice.lognormal(3, 0.9, size)) // 10 * 10 - 1, 99)
        self.category = number % len(CATEGORIES)
        # A few sell best.
        rank = story.dice(PRODUCTS, "rank").permutation(size)
        self._weights = 1 / (1.0 + rank) ** 1.1
        begun = -_whole((30 + 400 * story.dice(PRODUCTS, "begun").random(size)) * DAY)
        begun = begun // SECOND * SECOND
        begun[number % 10 == 8] = story.length // 5

        def moments(column: str) -> Ints:
            share = story.dice(PRODUCTS, column).random(size)
            return _whole(story.length * (0.25 + 0.7 * share))

        free = number % 17 == 6
        parts = [(number, self.category, np.where(free, -1, cents), begun)]
        factors = story.dice(PRODUCTS, "factor").random((2, size)) * 0.5 + 0.75
        for column, chosen, factor in (
            ("first", number % 3 == 0, factors[0]),
            ("second", number % 6 == 3, factors[1]),
        ):
            dearer = np.maximum(_whole(cents * factor), 50)
            parts.append(
                (number[chosen], self.category[chosen], dearer[chosen], moments(column)[chosen])
            )
        recast = number % 9 == 4
        other = (self.category + 3) % len(CATEGORIES)
        middle = np.full(size, story.length // 2 // DAY * DAY + 12 * HOUR + 7 * MINUTE)
        middle = np.minimum(middle, story.length * 2 // 3)
        parts.append((number[recast], other[recast], cents[recast], middle[recast]))
        columns = (np.concatenate([part[column] for part in parts]) for column in range(4))
        product, category, price, at = columns
        order = np.lexsort((at, product))
        self._product, self._category = product[order], category[order]
        self._cents, self._at = price[order], at[order]
        self._keys = self._key(self._product, self._at)

    @staticmethod
    def _key(product: Ints, at: Ints) -> Ints:
        return product * 2**48 + (at + 2**46)

    def cents(self, product: Ints, at: Ints) -> Ints:
        """The prices in force; -1 where there is none."""
        place = np.searchsorted(self._keys, self._key(product, at), side="right") - 1
        first = np.searchsorted(self._product, product)
        found: Ints = self._cents[np.maximum(place, first)]
        return found

    def weights(self, at: int) -> Floats:
        """How likely each is bought at a moment of the year."""
        month = (self._story.start + timedelta(microseconds=at)).month
        peaks = np.array(PEAKS)[self.category]
        weights = self._weights * (1 + 0.6 * np.cos(2 * np.pi * (month - peaks) / 12))
        found: Floats = weights / weights.sum()
        return found

    def told(self) -> Told:
        """Their rows: prices and categories change, some have no price, some are new."""
        fake = Faker("en_US")
        fake.seed_instance(f"{self._story.seed}/product")
        names = [
            f"{fake.color_name()} {CATEGORIES[number % len(CATEGORIES)].rstrip('s')} {number + 1}"
            for number in range(self._story.products)
        ]
        rows = {
            "product_id": FIRST_PRODUCT + self._product,
            "name": [names[n] for n in self._product.tolist()],
            "category": _words(self._category, CATEGORIES),
            "unit_price": money(self._cents),
            "updated_at": self._story.instants(self._at),
        }
        return _told(PRODUCTS, rows, np.maximum(self._at, 0))


def _told(table: str, columns: Mapping[str, Any], at: Ints) -> Told:
    """In the order in which they are told."""
    nothing = {} if "_op" in columns else {"_op": pa.nulls(len(at), pa.string())}
    rows = pa.table({**columns, **nothing}, TOLD_SCHEMAS[table])
    order = np.argsort(at, kind="stable")
    return Told(rows.take(order), at[order])


class _Orders(NamedTuple):
    """The orders of a period in their order, and when what becomes of them; `NEVER` where not."""

    number: Ints
    customer: Ints
    ordered_at: Ints
    paid_at: Ints
    shipped_at: Ints
    cancelled_at: Ints


class _Lines(NamedTuple):
    """Lines of orders: `order` is a place in `_Orders`, `cents` -1 where there is no price."""

    order: Ints
    number: Ints
    product: Ints
    quantity: Ints
    cents: Ints
    is_deleted: Bools


class _Clicks(NamedTuple):
    """Clicks of sessions; `who` is -1 where that is not known."""

    session: Ints
    who: Ints
    product: Ints
    action: Ints
    at: Ints


class Shop:
    """Lets the shop go on, a period after the other."""

    def __init__(self, story: Story) -> None:
        self._story = story
        self._customers, self._products = _Customers(story), _Products(story)
        self._waiting: dict[str, list[Told]] = {table: [] for table in TOLD_SCHEMAS}
        self._next = dict.fromkeys((ORDERS, REFUNDS, STOCK_MOVEMENTS, CLICKS, "session"), 0)
        shape = (story.products, len(WAREHOUSES))
        daily = story.customers * ORDERS_PER_CUSTOMER * 2.5 / len(WAREHOUSES)
        self._demand = daily * np.repeat(self._products.weights(0)[:, None], shape[1], axis=1)
        self._on_hand = np.zeros(shape, np.int64)
        self._underway_until = np.full(shape, -1, np.int64)
        self._points = np.maximum(_whole(7 * self._demand), 2)
        self._points[np.arange(self._points.size).reshape(shape) % 13 == 4] = -1  # none
        self._period = Period(-1, 0, 0, False, 0.0)

    def known_at_the_start(self) -> dict[str, Told]:
        """What is told at second 0."""
        self._waiting[CUSTOMERS].append(self._customers.told())
        self._waiting[PRODUCTS].append(self._products.told())
        self._open_the_warehouses()
        return self._flushed(0)

    def goes_on(self, period: Period) -> dict[str, Told]:
        """What is told in a period, and nobody has told before."""
        self._period = period
        self._sell()
        self._move()
        self._set_levels()
        told = self._flushed(period.end)
        self._reorder()
        return told

    # --- telling

    def _dice(self, table: str, column: str) -> np.random.Generator:
        return self._story.dice(table, column, self._period.number)

    def _units(self, table: str, column: str, size: int) -> Floats:
        return self._dice(table, column).random(size)

    def _between(self, table: str, column: str, size: int, low: int, high: int) -> Ints:
        """Spans of time."""
        return low + _whole((high - low) * self._units(table, column, size))

    def _numbers(self, of: str, size: int) -> Ints:
        first = self._next[of]
        self._next[of] += size
        return np.arange(first, first + size)

    def _tell(self, table: str, columns: Mapping[str, Any], at: Ints) -> None:
        if len(at):
            self._waiting[table].append(_told(table, columns, at))

    def _flushed(self, until: int) -> dict[str, Told]:
        found = {}
        for table, waiting in self._waiting.items():
            if not waiting:
                continue
            rows = pa.concat_tables([told.rows for told in waiting])
            at = np.concatenate([told.at for told in waiting])
            order = np.argsort(at, kind="stable")
            end = int(np.searchsorted(at[order], until, side="right"))
            now, later = order[:end], order[end:]
            found[table] = Told(rows.take(now), at[now])
            self._waiting[table] = [Told(rows.take(later), at[later])]
        if moved := found.get(STOCK_MOVEMENTS):
            self._take_stock(moved.rows)
        return found

    def _take_stock(self, moved: pa.Table) -> None:
        product = moved["product_id"].to_numpy() - FIRST_PRODUCT
        places = {name: place for place, name in enumerate(WAREHOUSES)}
        warehouse = np.array([places[name] for name in moved["warehouse"].to_pylist()], np.int64)
        known = product >= 0
        quantity = moved["quantity"].to_numpy()[known]
        np.add.at(self._on_hand, (product[known], warehouse[known]), quantity)

    # --- orders, their lines, refunds, and what these move

    def _sell(self) -> None:
        orders = self._orders()
        lines = self._lines(orders)
        for status, at in enumerate(orders[2:]):  # in the order of `STATUSES`
            happens = at < NEVER
            columns = {
                "order_id": orders.number[happens],
                "customer_id": FIRST_CUSTOMER + orders.customer[happens],
                "status": _words(np.full(int(happens.sum()), status), STATUSES),
                "ordered_at": self._story.instants(orders.ordered_at[happens]),
                "updated_at": self._story.instants(at[happens]),
            }
            self._tell(ORDERS, columns, at[happens])
        self._tell_lines(orders, lines)
        warehouse = self._customers.warehouse[orders.customer][lines.order]
        elsewhere = self._units(ORDER_ITEMS, "elsewhere", len(warehouse)) < 0.1
        warehouse = np.where(elsewhere, (warehouse + 1) % len(WAREHOUSES), warehouse)
        paid_at, cancelled_at = orders.paid_at[lines.order], orders.cancelled_at[lines.order]
        leaves = ~lines.is_deleted & (paid_at < NEVER)
        comes_back = leaves & (cancelled_at < NEVER)
        for reason, chosen, sign, at in (
            (SALE, leaves, -1, paid_at),
            (RETURN, comes_back, 1, cancelled_at),
        ):
            product, quantity = lines.product[chosen], sign * lines.quantity[chosen]
            self._tell_moves(reason, product, warehouse[chosen], quantity, at[chosen])
        self._refund(orders, lines, warehouse)
        self._click(orders, lines)

    def _orders(self) -> _Orders:
        """Some are never paid, some cancelled before or after that, most shipped in two days."""
        period = self._period
        expected = int(self._dice(ORDERS, "count").poisson(period.orders))
        new, joined_at = self._customers.newcomers(period)
        ordered_at = np.append(self._moments(ORDERS, "at", expected), joined_at)
        in_time = np.argsort(ordered_at, kind="stable")
        ordered_at = ordered_at[in_time]
        customer = np.append(self._customers.drawn(period, expected), new)[in_time]
        size = len(customer)
        fate = self._units(ORDERS, "fate", size)
        pays, ships = fate >= 0.07, fate >= 0.14
        cancels = (fate >= 0.04) & (fate < 0.10)

        def after(column: str, busy: tuple[int, int], else_: tuple[int, int]) -> Ints:
            return self._between(ORDERS, column, size, *(busy if period.is_busy else else_))

        paid_at = ordered_at + after("paid", (2 * SECOND, 20 * SECOND), (MINUTE, 90 * MINUTE))
        shipped_at = paid_at + after("ship", (MINUTE, 5 * MINUTE), (4 * HOUR, 48 * HOUR))
        cancelled_at = np.where(pays, paid_at, ordered_at) + after(
            "cancel", (30 * SECOND, 4 * MINUTE), (10 * MINUTE, DAY)
        )
        return _Orders(
            FIRST_ORDER + self._numbers(ORDERS, size),
            customer,
            ordered_at,
            np.where(pays, paid_at, NEVER),
            np.where(ships, shipped_at, NEVER),
            np.where(cancels, cancelled_at, NEVER),
        )

    def _moments(self, table: str, column: str, size: int) -> Ints:
        """Moments of the period in their order, by the hours of the day where it is one."""
        period, share = self._period, np.sort(self._units(table, column, size))
        if not period.is_busy:
            begins = self._story.start.hour
            hours = np.cumsum([0, *(HOURS[(begins + n) % 24] for n in range(24))])
            share = np.interp(share, hours / hours[-1], np.arange(25) / 24)
        return period.begin + _whole(share * (period.end - period.begin - SECOND)) + 1

    def _lines(self, orders: _Orders) -> _Lines:
        """One to five an order, of which a few are changed or deleted."""
        size = len(orders.number)
        each = np.minimum(self._dice(ORDER_ITEMS, "each").geometric(0.55, size), 5)
        order = np.repeat(np.arange(size), each)
        number = np.arange(len(order)) - np.repeat(np.cumsum(each) - each, each) + 1
        weights = self._products.weights(self._period.begin)
        product = self._dice(ORDER_ITEMS, "product").choice(len(weights), len(order), p=weights)
        quantity = np.minimum(self._dice(ORDER_ITEMS, "quantity").geometric(0.7, len(order)), 6)
        cents = self._products.cents(product, orders.ordered_at[order])
        cents[self._units(ORDER_ITEMS, "no_price", len(order)) < 0.004] = -1
        is_deleted = (self._units(ORDER_ITEMS, "deleted", len(order)) < 0.08) & (number > 1)
        return _Lines(order, number, product, quantity, cents, is_deleted)

    def _tell_lines(self, orders: _Orders, lines: _Lines) -> None:
        size = len(lines.order)
        ordered = orders.ordered_at[lines.order]
        span = (SECOND, 15 * SECOND) if self._period.is_busy else (10 * SECOND, 5 * MINUTE)
        changed_at = ordered + self._between(ORDER_ITEMS, "changed", size, *span)
        # Many think better of it at once, some the day after.
        late = (self._units(ORDER_ITEMS, "late", size) < 0.5) & lines.is_deleted
        changed_at[late] += self._between(ORDER_ITEMS, "later", size, HOUR, 36 * HOUR)[late]
        had = lines.quantity + 1
        is_changed = ~lines.is_deleted & (self._units(ORDER_ITEMS, "is_changed", size) < 0.03)
        places = np.arange(size)
        for chosen, quantity, at, op in (
            (places, np.where(is_changed, had, lines.quantity), ordered, -1),
            (places[is_changed], lines.quantity, changed_at, -1),
            (places[lines.is_deleted], lines.quantity, changed_at, 0),
        ):
            columns = {
                "order_id": orders.number[lines.order[chosen]],
                "line": lines.number[chosen],
                "product_id": FIRST_PRODUCT + lines.product[chosen],
                "quantity": quantity[chosen],
                "unit_price": money(lines.cents[chosen]),
                "updated_at": self._story.instants(at[chosen]),
                "_op": _words(np.full(len(chosen), op), ("delete",)),
            }
            self._tell(ORDER_ITEMS, columns, at[chosen])

    def _refund(self, orders: _Orders, lines: _Lines, warehouse: Ints) -> None:
        """A part, the whole, or more; some twice; of paid orders that are cancelled all."""
        size = len(lines.order)
        shipped, cancelled = orders.shipped_at[lines.order], orders.cancelled_at[lines.order]
        is_paid = orders.paid_at[lines.order] < NEVER
        drawn = self._units(REFUNDS, "drawn", size)
        first = (drawn < 0.12) & (shipped < NEVER)
        whole = is_paid & (cancelled < NEVER) & ~lines.is_deleted
        span = (MINUTE, 3 * MINUTE) if self._period.is_busy else (DAY, 14 * DAY)
        refunded_at = np.where(first, shipped, 0) + self._between(REFUNDS, "at", size, *span)
        refunded_at = np.where(whole, cancelled + MINUTE, refunded_at)
        again = first & (drawn < 0.02)
        price = np.where(lines.cents < 0, 500, lines.cents)
        full = price * lines.quantity
        share = np.array([0.3, 0.5, 1.0, 1.0, 1.0, 1.0])[
            self._dice(REFUNDS, "share").integers(0, 6, size)
        ]
        share[self._units(REFUNDS, "too_large", size) < 0.1] = 1.5
        amount = np.where(whole, full, np.maximum(_whole(full * share), 1))
        second_at = refunded_at + self._between(REFUNDS, "second", size, span[0], 5 * span[0])
        recorded_after = self._between(REFUNDS, "recorded", size, 0, MINUTE)
        parts = ((first | whole, amount, refunded_at), (again, full // 4 + 1, second_at))
        for chosen, cents, at in parts:
            num_chosen = int(chosen.sum())
            recorded = (at + recorded_after)[chosen]
            columns = {
                "refund_id": FIRST_REFUND + self._numbers(REFUNDS, num_chosen),
                "order_id": orders.number[lines.order[chosen]],
                "line": lines.number[chosen],
                "quantity": lines.quantity[chosen],
                "amount": money(cents[chosen]),
                "refunded_at": self._story.instants(at[chosen]),
                "recorded_at": self._story.instants(recorded),
            }
            self._tell(REFUNDS, columns, recorded)
        comes_back = first & ~lines.is_deleted & (self._units(REFUNDS, "back", size) < 0.7)
        self._tell_moves(
            RETURN,
            lines.product[comes_back],
            warehouse[comes_back],
            lines.quantity[comes_back],
            refunded_at[comes_back],
        )

    # --- stock

    def _tell_moves(
        self, reason: int, product: Ints, warehouse: Ints, quantity: Ints, at: Ints
    ) -> None:
        number = self._numbers(STOCK_MOVEMENTS, len(at))
        most = SECOND if self._period.is_busy else 30 * SECOND
        delay = number * 7919 % most  # of writing it down
        columns = {
            "movement_id": FIRST_MOVEMENT + number,
            "product_id": FIRST_PRODUCT + product,
            "warehouse": _words(warehouse, WAREHOUSES),
            "quantity": quantity,
            "reason": _words(np.full(len(at), reason), REASONS),
            "moved_at": self._story.instants(at),
            "recorded_at": self._story.instants(at + delay),
        }
        self._tell(STOCK_MOVEMENTS, columns, np.maximum(at + delay, 0))

    def _tell_levels(self, product: Ints, warehouse: Ints, at: Ints, op: int = -1) -> None:
        points = self._points[product, warehouse]
        columns = {
            "product_id": FIRST_PRODUCT + product,
            "warehouse": _words(warehouse, WAREHOUSES),
            "reorder_point": pa.array(points, mask=points < 0),
            "updated_at": self._story.instants(at),
            "_op": _words(np.full(len(at), op), ("delete",)),
        }
        self._tell(STOCK_LEVELS, columns, np.maximum(at, 0))

    def _open_the_warehouses(self) -> None:
        """Most have a stock for weeks, some are low from the start; some levels go in the end."""
        product, warehouse = np.nonzero(np.ones_like(self._points))
        has_point = self._points[product, warehouse] >= 0
        at = np.full(len(product), -HOUR)
        self._tell_levels(product[has_point], warehouse[has_point], at[has_point])
        goes = has_point & (np.arange(len(product)) % 29 == 7)
        ends = np.full(int(goes.sum()), self._story.length * 8 // 10)
        self._tell_levels(product[goes], warehouse[goes], ends, op=0)
        for_days = 6 + 19 * self._units(STOCK_MOVEMENTS, "for_days", len(product))
        stock = np.maximum(_whole(for_days * self._demand[product, warehouse]), 3)
        self._tell_moves(RECEIPT, product, warehouse, stock, at)

    def _reorder(self) -> None:
        """What is low comes in days, of slow suppliers after it has run out."""
        period = self._period
        is_low = (self._on_hand <= self._points) & (self._underway_until < period.end)
        product, warehouse = np.nonzero(is_low)
        lead = self._between(STOCK_MOVEMENTS, "lead", len(product), DAY, 4 * DAY)
        lead[product % 8 == 3] += 5 * DAY
        if period.is_busy or period.end == self._story.days * DAY:
            lead = self._between(STOCK_MOVEMENTS, "lead", len(product), 20 * SECOND, 4 * MINUTE)
        lack = self._points[product, warehouse] - self._on_hand[product, warehouse]
        lot = np.maximum(_whole(14 * self._demand[product, warehouse]), 5)
        at = period.end + lead
        self._underway_until[product, warehouse] = at
        self._tell_moves(RECEIPT, product, warehouse, lot + lack, at)

    def _move(self) -> None:
        """Transfers, corrections (some undone in their instant), and what nobody knows."""
        per_period = 0.3 if self._period.is_busy else 2.0
        num_products = self._story.products
        for reason in (TRANSFER, CORRECTION):
            dice = self._dice(STOCK_MOVEMENTS, REASONS[reason])
            size = int(dice.poisson(per_period)) + (self._period.number == 0)
            product = dice.integers(0, num_products, size)
            source = dice.integers(0, len(WAREHOUSES), size)
            quantity = dice.integers(1, 6, size)
            at = self._moments(STOCK_MOVEMENTS, f"{REASONS[reason]}_at", size)
            self._tell_moves(reason, product, source, -quantity, at)
            comes = np.ones(size, np.bool_) if reason == TRANSFER else dice.random(size) < 0.3
            target = (source + (1 if reason == TRANSFER else 0)) % len(WAREHOUSES)
            self._tell_moves(reason, product[comes], target[comes], quantity[comes], at[comes])
        size = int(self._dice(STOCK_MOVEMENTS, "unknown").poisson(per_period / 4))
        size += self._period.number == 0
        nobody_knows = np.full(size, UNKNOWN_PRODUCT - FIRST_PRODUCT)
        at = self._moments(STOCK_MOVEMENTS, "unknown_at", size)
        self._tell_moves(RECEIPT, nobody_knows, np.zeros(size, np.int64), np.full(size, 3), at)

    def _set_levels(self) -> None:
        """Now and then a point is raised, above the stock too, or lowered below it."""
        dice = self._dice(STOCK_LEVELS, "changed")
        share = 0.02 if self._period.is_busy else 0.01
        product, warehouse = np.nonzero(
            (dice.random(self._points.shape) < share)
            & (self._points >= 0)
            & (np.arange(self._points.size).reshape(self._points.shape) % 29 != 7)
        )
        at = self._moments(STOCK_LEVELS, "at", len(product))
        stock = np.maximum(self._on_hand[product, warehouse], 0)
        choice = dice.integers(0, 4, len(product))
        usual = np.maximum(_whole(7 * self._demand[product, warehouse]), 2)
        points = np.select(
            [choice == 0, choice == 1, choice == 2],
            [stock + 2, np.maximum(stock - 2, 0), usual * 3 // 2],
            usual,
        )
        self._points[product, warehouse] = points
        self._tell_levels(product, warehouse, at)

    # --- clicks

    def _click(self, orders: _Orders, lines: _Lines) -> None:
        """Tells the clicks; a few ids are given to two of them."""
        parts = [*self._of_buyers(orders, lines), *self._of_lookers(4 * len(orders.number) + 3)]
        clicks = _Clicks(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        size = len(clicks.at)
        in_time = np.argsort(clicks.at, kind="stable")
        number = np.empty(size, np.int64)
        number[in_time] = self._numbers(CLICKS, size)
        twice = np.flatnonzero(self._units(CLICKS, "twice", size) < 0.002)
        if self._period.number == 0:
            twice = np.union1d(twice, in_time[:1])
        rows = np.concatenate((np.arange(size), twice))
        is_other = np.arange(len(rows)) >= size
        product = (clicks.product[rows] + is_other) % self._story.products
        at = clicks.at[rows] + is_other * (number[rows] % 2) * SECOND
        who = clicks.who[rows]
        columns = {
            "click_id": FIRST_CLICK + number[rows],
            "session_id": [f"s-{n}" for n in (FIRST_SESSION + clicks.session[rows]).tolist()],
            "customer_id": pa.array(FIRST_CUSTOMER + who, mask=who < 0),
            "product_id": FIRST_PRODUCT + product,
            "action": _words(clicks.action[rows], ACTIONS),
            "clicked_at": self._story.instants(at),
        }
        self._tell(CLICKS, columns, at)

    @property
    def _visit(self) -> int:
        """How long one may be on the pages."""
        return MINUTE if self._period.is_busy else 10 * MINUTE

    def _of_buyers(self, orders: _Orders, lines: _Lines) -> Iterator[_Clicks]:
        """They look at most of what they add and buy."""
        size = len(lines.order)
        session = self._numbers("session", len(orders.number))[lines.order]
        is_known = self._units(CLICKS, "known", len(orders.number)) < 0.9
        who = np.where(is_known, orders.customer, -1)[lines.order]
        bought_at = orders.ordered_at[lines.order]
        looked = self._between(CLICKS, "looked", size, 2 * SECOND, self._visit)
        viewed_at = np.maximum(bought_at - looked, self._period.begin + 1)
        everything = np.ones(size, np.bool_)
        views = self._units(CLICKS, "views", size) < 0.9
        for action, chosen, at in (
            (VIEW, views, viewed_at),
            (ADD, everything, (viewed_at + bought_at) // 2),
            (BUY, everything, bought_at),
        ):
            clicks = _Clicks(session, who, lines.product, np.full(size, action), at)
            yield _Clicks(*(column[chosen] for column in clicks))

    def _of_lookers(self, size: int) -> Iterator[_Clicks]:
        """Sessions that look at this and that, and buy nothing."""
        looks = np.minimum(self._dice(CLICKS, "looks").geometric(0.4, size), 8)
        of_look = np.repeat(np.arange(size), looks)
        session = self._numbers("session", size)[of_look]
        began = self._moments(CLICKS, "began", size)[of_look]
        dice = self._dice(CLICKS, "visitor")
        is_known = dice.random(size) < 0.4
        who = np.where(is_known, dice.integers(0, self._story.customers, size), -1)[of_look]
        weights = self._products.weights(self._period.begin)
        product = self._dice(CLICKS, "product").choice(len(weights), len(of_look), p=weights)
        at = began + self._between(CLICKS, "seen", len(of_look), 0, self._visit)
        everything = np.ones(len(of_look), np.bool_)
        adds = self._units(CLICKS, "adds", len(of_look)) < 0.2
        for action, chosen, after in ((VIEW, everything, 0), (ADD, adds, SECOND)):
            moments = np.minimum(at + after, self._period.end)
            clicks = _Clicks(session, who, product, np.full(len(of_look), action), moments)
            yield _Clicks(*(column[chosen] for column in clicks))
