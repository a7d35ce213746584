"""Reads what was delivered of the shop and judges each row: what it says, or why it is a reject.

    files, pulls --read_contents--> Deliveries --judge_rows, judge_clicks--> Judged

Times are whole microseconds since 1970 UTC, money is Decimal.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

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
from tests.oracle.wearables.marts import UnreadableError, _integer, _object, _text, instant

MAX_CLOCK_SKEW: Final = timedelta(hours=1)
MOST_PIECES: Final = 1_000_000
MOST_MONEY: Final = Decimal(1_000_000_000)
# Of a line of an order.
MOST_WORTH: Final = Decimal(10_000_000_000)
STATUSES: Final = ("placed", "paid", "shipped", "cancelled")
REASONS: Final = ("sale", "return", "receipt", "transfer", "correction")
ACTIONS: Final = ("view", "add", "buy")
ENVELOPE_FIELDS: Final = ("key", "value", "topic", "partition", "offset", "timestamp")

_EPOCH_START: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Nothing but these makes a line that does not count.
_BLANK: Final = bytes(range(0x21)).decode()

Raw: TypeAlias = Mapping[str, Any]
Key: TypeAlias = tuple[Any, ...]


class Customer(NamedTuple):
    """A customer from a moment on."""

    customer: int
    name: str | None
    email: str | None
    region: str | None


class Product(NamedTuple):
    """A product from a moment on."""

    product: int
    name: str | None
    category: str | None
    price: Decimal | None


class Order(NamedTuple):
    """An order; nobody's where no customer is told."""

    order: int
    customer: int | None
    status: str
    ordered_at: int


class Item(NamedTuple):
    """A line of an order; without a price the product's holds."""

    order: int
    line: int
    product: int
    quantity: int
    price: Decimal | None


class Refund(NamedTuple):
    """Money that was given back for a line."""

    refund: int
    order: int
    line: int
    quantity: int | None
    amount: Decimal
    refunded_at: int


class Level(NamedTuple):
    """The reorder point of a product in a warehouse from a moment on."""

    product: int
    warehouse: str
    reorder_point: int | None


class Movement(NamedTuple):
    """What enters a warehouse, or leaves it: then the quantity is negative."""

    movement: int
    product: int
    warehouse: str
    quantity: int
    reason: str | None
    moved_at: int


class Click(NamedTuple):
    """A click on the page of a product."""

    click: int
    session: str
    customer: int | None
    product: int
    action: str
    clicked_at: int


Typed: TypeAlias = Customer | Product | Order | Item | Refund | Level | Movement


class Told(NamedTuple):
    """What a row of the database says of its key, by file or as a pull saw it.

    Attributes:
        key: The primary key.
        row: What it says; None where the row is gone, or cannot be read.
        changed_at: What its change column says; None where a pulled row has none that is believed.
        pull: The number of the pull that saw it; None: it came by file.
        pulled_at: When that pull took place.
        is_readable: Whether it is no reject.
    """

    key: Key
    row: Typed | None
    changed_at: int | None
    pull: int | None = None
    pulled_at: int | None = None
    is_readable: bool = True


@dataclass
class Judged:
    """The rows of a table, judged.

    Attributes:
        told: The distinct rows that are no rejects, and the pulled ones that are: these take the
            place of what their key said before.
        counts: `events_in`, `accepted`, `duplicates`, `row_rejects`, `field_rejects`.
        reasons: How often each reason of a reject applies, of rows and of fields.
    """

    told: set[Any]
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Deliveries:
    """Delivered rows as they came, in any order.

    Attributes:
        rows: By full table name, the rows of files; `_op` is `delete` in one that is gone.
        pulled: The same of what pulls saw, with `_pull_id` and `_pulled_at`.
        clicks: Lines of `retail.clicks`, each the JSON text of one envelope.
    """

    rows: Mapping[str, Sequence[Raw]] = field(default_factory=dict)
    pulled: Mapping[str, Sequence[Raw]] = field(default_factory=dict)
    clicks: Sequence[str] = ()


class RejectError(ValueError):
    """A delivered row that is refused; tells why."""


def micros(moment: datetime) -> int:
    """Whole microseconds since 1970 UTC."""
    return (moment - _EPOCH_START) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """The moment of whole microseconds since 1970 UTC."""
    return _EPOCH_START + timedelta(microseconds=at)


# --- reading


def read_contents(files: Mapping[str, Iterable[tuple[str, bytes]]]) -> Deliveries:
    """Reads delivered files. Equal contents count once a table.

    Args:
        files: Names and contents by full table name, without those that the gate refuses: Parquet,
            of clicks JSON lines, plain or `.gz`; those of pulls by `<source>.<table>.pulled`.

    Raises:
        pyarrow.ArrowInvalid, OSError, EOFError: A file cannot be read to its end.
    """
    rows: dict[str, list[Raw]] = defaultdict(list)
    pulled: dict[str, list[Raw]] = defaultdict(list)
    clicks: list[str] = []
    for table, named in files.items():
        seen: set[str] = set()
        for name, content in named:
            digest = hashlib.sha256(content).hexdigest()
            if digest in seen:
                continue
            seen.add(digest)
            if table == CLICKS:
                clicks += _lines(name, content)
            elif table.endswith(".pulled"):
                pulled[table.removesuffix(".pulled")] += _rows(content)
            else:
                rows[table] += _rows(content)
    return Deliveries(rows, pulled, clicks)


def _rows(content: bytes) -> list[Raw]:
    """The rows of a Parquet file, times as microseconds since 1970."""
    table = pq.read_table(io.BytesIO(content), use_threads=False)
    for index, column in enumerate(table.schema):
        if pa.types.is_timestamp(column.type):
            whole = table[column.name].cast(pa.timestamp("us", "UTC")).cast(pa.int64())
            table = table.set_column(index, column.name, whole)
    return list(table.to_pylist())


def _lines(name: str, content: bytes) -> list[str]:
    if name.endswith(".gz"):
        content = gzip.decompress(content)
    text = content.decode("utf-8-sig", errors="replace")
    return [line for line in re.split("\r\n|\r|\n", text) if line.strip(_BLANK)]


# --- judging a value


@dataclass(frozen=True)
class Clock:
    """Which times are believed: from `earliest` to an hour after the ingestion, both included."""

    earliest: int
    latest: int

    def fault(self, name: str, at: int | None) -> str | None:
        """Why a time is refused; None where it is fine."""
        if at is None:
            return f"{name} is unreadable"
        if at < self.earliest:
            return f"{name} is before {moment(self.earliest):%Y-%m-%d}"
        if at > self.latest:
            return f"{name} is in the future"
        return None

    def read(self, name: str, at: int | None) -> int:
        """The time.

        Raises:
            RejectError: It is refused.
        """
        fault = self.fault(name, at)
        if at is None or fault:
            raise RejectError(fault)
        return at


class _Row:
    """A delivered row: its values, and the faults of fields that are taken for null then."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.field_faults: list[str] = []

    def needed(self, name: str) -> Any:
        """A value without which the row means nothing: no null, no blank text."""
        value = self.text(name) if isinstance(self.raw.get(name), str) else self.raw.get(name)
        if value is None:
            raise RejectError(f"{name} is missing")
        return value

    def text(self, name: str) -> str | None:
        """A text as it was delivered; None where it is blank."""
        text: str | None = self.raw.get(name)
        return text if text and text.strip(" ") else None

    def word(self, name: str, allowed: Sequence[str]) -> str | None:
        """One of some words, however it is spelt; None where it is none of them."""
        word = (self.raw.get(name) or "").strip(" ").lower()
        return word if word in allowed else None

    def pieces(self, name: str, least: int) -> int | None:
        """A number of pieces; None where it is none."""
        value: int | None = self.raw.get(name)
        return value if value is not None and least <= value <= MOST_PIECES else None

    def money(self, name: str) -> Decimal | None:
        """An amount of money; None where it is none."""
        value: Decimal | None = self.raw.get(name)
        return value if value is not None and 0 <= value <= MOST_MONEY else None

    def or_null(self, name: str, value: Any, fault: str) -> Any:
        """The value; where one was told that is none, that is a fault of the field."""
        if value is None and self.raw.get(name) is not None:
            self.field_faults.append(fault)
        return value


def none_of(name: str, allowed: Iterable[str]) -> str:
    """The reason for a word that is none of those allowed."""
    return f"{name} is none of {', '.join(sorted(allowed))}"


# --- judging a row of the database: keys, change columns and what the others say


def _customer(row: _Row, clock: Clock) -> Customer:
    return Customer(
        row.needed("customer_id"), row.raw.get("name"), row.raw.get("email"), row.text("region")
    )


def _product(row: _Row, clock: Clock) -> Product:
    price = row.or_null("unit_price", row.money("unit_price"), "unit_price is not a price")
    return Product(row.needed("product_id"), row.raw.get("name"), row.text("category"), price)


def _order(row: _Row, clock: Clock) -> Order:
    order = row.needed("order_id")
    status = row.word("status", STATUSES)
    if status is None:
        raise RejectError(none_of("status", STATUSES))
    ordered_at = clock.read("ordered_at", row.raw.get("ordered_at"))
    return Order(order, row.raw.get("customer_id"), status, ordered_at)


def _item(row: _Row, clock: Clock) -> Item:
    order, line, product = (row.needed(name) for name in ("order_id", "line", "product_id"))
    quantity = row.pieces("quantity", 0)
    if quantity is None:
        raise RejectError("quantity is not a number of pieces")
    money = row.money("unit_price")
    is_price = money is not None and quantity * money <= MOST_WORTH
    price = row.or_null("unit_price", money if is_price else None, "unit_price is not a price")
    return Item(order, line, product, quantity, price)


def _refund(row: _Row, clock: Clock) -> Refund:
    refund, order, line = (row.needed(name) for name in ("refund_id", "order_id", "line"))
    amount = row.money("amount")
    if amount is None:
        raise RejectError("amount is not an amount of money")
    refunded_at = clock.read("refunded_at", row.raw.get("refunded_at"))
    quantity = row.or_null(
        "quantity", row.pieces("quantity", 0), "quantity is not a number of pieces"
    )
    return Refund(refund, order, line, quantity, amount, refunded_at)


def _level(row: _Row, clock: Clock) -> Level:
    reorder_point = row.or_null(
        "reorder_point", row.pieces("reorder_point", 0), "reorder_point is not a number of pieces"
    )
    return Level(row.needed("product_id"), row.needed("warehouse"), reorder_point)


def _movement(row: _Row, clock: Clock) -> Movement:
    movement, product, warehouse = (
        row.needed(name) for name in ("movement_id", "product_id", "warehouse")
    )
    quantity = row.pieces("quantity", -MOST_PIECES)
    if quantity is None:
        raise RejectError("quantity is not a number of pieces")
    moved_at = clock.read("moved_at", row.raw.get("moved_at"))
    # Without its reason it still moves the stock.
    reason = row.or_null("reason", row.word("reason", REASONS), none_of("reason", REASONS))
    return Movement(movement, product, warehouse, quantity, reason, moved_at)


class _Table(NamedTuple):
    key: tuple[str, ...]
    changed_at: str
    judge: Callable[[_Row, Clock], Typed]


TABLES: Final[Mapping[str, _Table]] = {
    CUSTOMERS: _Table(("customer_id",), "updated_at", _customer),
    PRODUCTS: _Table(("product_id",), "updated_at", _product),
    ORDERS: _Table(("order_id",), "updated_at", _order),
    ORDER_ITEMS: _Table(("order_id", "line"), "updated_at", _item),
    REFUNDS: _Table(("refund_id",), "recorded_at", _refund),
    STOCK_LEVELS: _Table(("product_id", "warehouse"), "updated_at", _level),
    STOCK_MOVEMENTS: _Table(("movement_id",), "recorded_at", _movement),
}


def judge_rows(table: str, deliveries: Deliveries, clock: Clock) -> Judged:
    """Judges the rows of a table of the database, of files and of pulls."""
    judged = Judged(set())
    by_file = {
        told
        for raw in deliveries.rows.get(table, ())
        if (told := _judge_of_file(TABLES[table], raw, clock, judged))
    }
    pulled: dict[Key, dict[int, Told]] = defaultdict(dict)
    for raw in deliveries.pulled.get(table, ()):
        told = _judge_of_pull(TABLES[table], raw, clock, judged)
        pulled[told.key][raw["_pull_id"]] = told
    judged.told = by_file | {told for of_key in pulled.values() for told in of_key.values()}
    judged.counts["accepted"] = len(by_file) + sum(map(_changes, pulled.values()))
    judged.counts["duplicates"] = (
        judged.counts["events_in"] - judged.counts["row_rejects"] - judged.counts["accepted"]
    )
    return judged


def _changes(of_key: Mapping[int, Told]) -> int:
    """How many of the rows that pulls saw are readable and not as the one before."""
    seen = [(told.row, told.changed_at, told.is_readable) for _, told in sorted(of_key.items())]
    return sum(now[-1] and now != before for before, now in zip([None, *seen], seen, strict=False))


def _judge_of_file(table: _Table, raw: Raw, clock: Clock, judged: Judged) -> Told | None:
    row = _Row(raw)
    judged.counts["events_in"] += 1
    try:
        op = (raw.get("_op") or "").strip(" ").lower()
        if op not in ("", "delete", "upsert"):
            raise RejectError("_op is none of delete, upsert")
        key = tuple(row.needed(name) for name in table.key)
        typed = None if op == "delete" else table.judge(row, clock)
        # Rows by hand are ordered by it.
        changed_at = clock.read(table.changed_at, raw.get(table.changed_at))
    except RejectError as reject:
        _note_reject(judged, str(reject))
        return None
    _note_field(judged, row)
    return Told(key, typed, changed_at)


def _judge_of_pull(table: _Table, raw: Raw, clock: Clock, judged: Judged) -> Told:
    row = _Row(raw)
    judged.counts["events_in"] += 1
    key = tuple(raw[name] for name in table.key)
    pull = {"pull": raw["_pull_id"], "pulled_at": raw["_pulled_at"]}
    if raw["_op"] == "delete":
        return Told(key, None, None, **pull)
    try:
        typed = table.judge(row, clock)
    except RejectError as reject:
        _note_reject(judged, str(reject))
        return Told(key, None, None, **pull, is_readable=False)
    # Pulls are ordered by their numbers, so a row is not lost for a clock that is wrong.
    changed_at = raw.get(table.changed_at)
    if changed_at is not None and (fault := clock.fault(table.changed_at, changed_at)):
        row.field_faults.append(fault)
        changed_at = None
    _note_field(judged, row)
    return Told(key, typed, changed_at, **pull)


def _note_reject(judged: Judged, reason: str) -> None:
    judged.counts["row_rejects"] += 1
    judged.reasons[reason] += 1


def _note_field(judged: Judged, row: _Row) -> None:
    """A row is told once, however many of its fields are wrong."""
    if row.field_faults:
        judged.counts["field_rejects"] += 1
        judged.reasons[row.field_faults[0]] += 1


# --- judging a click


def judge_clicks(lines: Iterable[str], clock: Clock) -> Judged:
    """Judges the lines of clicks; what says the same is one click."""
    judged = Judged(set())
    for line in lines:
        judged.counts["events_in"] += 1
        try:
            click, field_fault = _click(line, clock)
        except RejectError as reject:
            _note_reject(judged, str(reject))
            continue
        judged.told.add(click)
        if field_fault:
            judged.counts["field_rejects"] += 1
            judged.reasons[field_fault] += 1
    judged.counts["accepted"] = len(judged.told)
    judged.counts["duplicates"] = (
        judged.counts["events_in"] - judged.counts["row_rejects"] - judged.counts["accepted"]
    )
    return judged


def _click(line: str, clock: Clock) -> tuple[Click, str | None]:
    """The click of an envelope, and the fault of a field of either, if there is one."""
    envelope = _object_of(line, "the line")
    for name in ("topic", "value"):
        if name not in envelope:
            raise RejectError(f"{name} is missing")
    if envelope["topic"] is None:
        raise RejectError("the topic is null")
    if envelope["topic"] != "clicks":
        raise RejectError("the topic is unknown")
    if envelope["value"] is None:
        raise RejectError("value is null")
    value = _object_of(envelope["value"], "value")
    click, session, product = (
        _whole(value, "click_id"),
        _text(value, "session_id"),
        _whole(value, "product_id"),
    )
    if click is None:
        raise RejectError("click_id is not a whole number")
    if session is None or not session.strip(" "):
        raise RejectError("session_id is missing")
    if product is None:
        raise RejectError("product_id is not a whole number")
    action = (_text(value, "action") or "").strip(" \t\n\r\f\v").lower()
    if action not in ACTIONS:
        raise RejectError(none_of("action", ACTIONS))
    clicked_at = clock.read("clicked_at", _time(value, "clicked_at"))
    customer = _whole(value, "customer_id")
    faults = []
    if missing := [name for name in ENVELOPE_FIELDS if name not in envelope]:
        faults.append(f"missing: {', '.join(missing)}")
    if customer is None and value.get("customer_id") is not None:
        faults.append("customer_id is not a whole number")
    return Click(click, session, customer, product, action, clicked_at), next(iter(faults), None)


def _object_of(text: object, what: str) -> dict[str, object]:
    try:
        return _object(text)
    except UnreadableError:
        raise RejectError(f"{what} is not one JSON object") from None


def _whole(value: Mapping[str, object], name: str) -> int | None:
    try:
        return _integer(_text(value, name))
    except UnreadableError:
        return None


def _time(value: Mapping[str, object], name: str) -> int | None:
    try:
        return instant(_text(value, name))
    except UnreadableError as error:
        if str(error).startswith("too few digits"):
            raise RejectError(f"{name} has too few digits") from None
        return None
