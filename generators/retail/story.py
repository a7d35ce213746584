"""A story of a shop, delivered as files, into its database, its clicks perhaps as messages.

    shop (what is told, period by period) -> sets by delivery time -> inbox | database | topic

What is late, doubled or broken shifts no other value, so the same seed with and without these tells
of the same events. Times within the story are whole microseconds from its start.
"""

from __future__ import annotations

import gzip
import io
import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from generators import check_shares, check_start
from generators.inbox import FileSet, Inbox
from generators.kafka import Message, Send
from generators.retail.database import Database
from generators.retail.shop import (
    DAY,
    MINUTE,
    SECOND,
    TOLD_SCHEMAS,
    Ints,
    Period,
    Shop,
    Story,
    Told,
    periods,
)
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
from ingestion.home import Home

START: Final = datetime(2026, 3, 2, 6, tzinfo=UTC)
TOPIC: Final = "clicks"
MOST_LATE: Final = 2 * DAY
WRITTEN_EVERY: Final = 300.0
"""Seconds of the busy minutes in a set, where nobody waits for it."""
APPENDED: Final = (REFUNDS, STOCK_MOVEMENTS)
"""Tables of a database to which a long transaction may add a row late; the others change."""
BEFORE_ALL: Final = datetime(2000, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
"""Of a clock that was never set."""
FUTURE: Final = datetime(2999, 1, 1, tzinfo=UTC)

NO_TIMES: Final = (None, BEFORE_ALL, FUTURE)
BROKEN_VALUES: Final[Mapping[str, Sequence[tuple[str, object]]]] = {
    CUSTOMERS: (("customer_id", None), *(("updated_at", moment) for moment in NO_TIMES)),
    PRODUCTS: (
        ("product_id", None),
        ("unit_price", Decimal("-1.00")),
        *(("updated_at", moment) for moment in NO_TIMES),
    ),
    ORDERS: (
        ("order_id", None),
        *(("status", status) for status in (None, "sent")),
        *(("ordered_at", moment) for moment in NO_TIMES),
        *(("updated_at", moment) for moment in NO_TIMES),
    ),
    ORDER_ITEMS: (
        *((name, None) for name in ("order_id", "line", "product_id", "quantity")),
        ("quantity", -1),
        ("unit_price", Decimal("-1.00")),
        *(("updated_at", moment) for moment in NO_TIMES),
    ),
    REFUNDS: (
        *((name, None) for name in ("refund_id", "order_id", "line", "amount")),
        ("amount", Decimal("-1.00")),
        ("quantity", -1),
        *(("refunded_at", moment) for moment in NO_TIMES),
        *(("recorded_at", moment) for moment in NO_TIMES),
    ),
    STOCK_LEVELS: (
        *((name, None) for name in ("product_id", "warehouse")),
        ("reorder_point", -1),
        *(("updated_at", moment) for moment in NO_TIMES),
    ),
    STOCK_MOVEMENTS: (
        *((name, None) for name in ("movement_id", "product_id", "warehouse", "quantity")),
        ("quantity", 2_000_000),
        ("reason", "theft"),
        *(("moved_at", moment) for moment in NO_TIMES),
        *(("recorded_at", moment) for moment in NO_TIMES),
    ),
}
BROKEN_CLICKS: Final[Sequence[Mapping[str, object]]] = (
    {"click_id": None},
    {"session_id": None},
    {"customer_id": "me"},
    {"product_id": "abc"},
    {"action": "like"},
    {"clicked_at": "soon"},
    {"clicked_at": "1.7724E+12"},
    {"clicked_at": "1999-12-31T23:59:59Z"},
    {"clicked_at": "2999-01-01T00:00:00Z"},
)
_LINES: Final = pa.schema({"line": pa.string()})


class _Set(NamedTuple):
    """What is delivered together: rows by table, of clicks the lines."""

    number: int
    rows: Mapping[str, pa.Table]


class _Trouble(NamedTuple):
    late: float
    duplicates: float
    corrupt: float


# --- the delivery


class _Delivery:
    """Cuts what is told into sets, and brings the trouble in between.

    Args:
        story: The story.
        moments: When each set is delivered, in microseconds from the story's start.
        trouble: The shares of rows that come late, twice, and broken besides.
        in_database: The tables of a database, in which no row is double or broken.
    """

    def __init__(
        self, story: Story, moments: Ints, trouble: _Trouble, in_database: Collection[str]
    ) -> None:
        self._story, self._moments = story, moments
        self._trouble, self._in_database = trouble, in_database
        self._waiting: dict[str, list[Told]] = {table: [] for table in TOLD_SCHEMAS}
        self._owes_broken = set(TOLD_SCHEMAS) if trouble.corrupt else set()
        self._next = 0

    def take(self, told: Mapping[str, Told], period: int) -> None:
        """What is told in a period waits for its sets then."""
        for table, of_table in told.items():
            self._waiting[table].append(self._troubled(table, of_table, period))

    def sets_until(self, moment: int) -> Iterator[_Set]:
        """The sets up to a moment of which nothing more can come."""
        end = int(np.searchsorted(self._moments, moment, side="right"))
        sets: list[dict[str, pa.Table]] = [{} for _ in range(self._next, end)]
        for table, waiting in self._waiting.items():
            if not waiting:
                continue
            rows = pa.concat_tables([told.rows for told in waiting])
            at = np.concatenate([told.at for told in waiting])
            number = np.minimum(np.searchsorted(self._moments, at), len(self._moments) - 1)
            number = np.maximum(number, self._next)
            order = np.lexsort((at, number))
            rows, at, number = rows.take(order), at[order], number[order]
            bounds = np.searchsorted(number, np.arange(self._next, end + 1))
            for place, (begin, stop) in enumerate(pairwise(bounds)):
                if begin < stop:
                    sets[place][table] = rows.slice(int(begin), int(stop - begin))
            rest = int(bounds[-1])
            self._waiting[table] = [Told(rows.slice(rest), at[rest:])]
        for place, of_set in enumerate(sets):
            yield _Set(self._next + place, of_set)
        self._next = max(self._next, end)

    def _troubled(self, table: str, told: Told, period: int) -> Told:
        late, duplicates, corrupt = self._trouble
        if table in self._in_database:
            late, duplicates, corrupt = late if table in APPENDED else 0, 0, 0
        size = len(told.at)

        def units(column: str) -> Any:
            return self._story.dice(table, column, period).random(size)

        most = max(min(MOST_LATE, self._story.length // 4), 2 * MINUTE)
        at = told.at.copy()
        is_late = units("late") < late
        at[is_late] += (MINUTE + (most - MINUTE) * units("delay")).astype(np.int64)[is_late]
        again = np.flatnonzero(units("again") < duplicates)
        pause = (most * units("pause")).astype(np.int64)
        pause[units("same_file") < 0.3] = 0
        rows = _lines(told.rows) if table == CLICKS else told.rows
        broken, source = self._broken(table, told, rows, period, corrupt)
        return Told(
            pa.concat_tables([rows, rows.take(again), broken]).combine_chunks(),
            np.concatenate((at, at[again] + pause[again], told.at[source])),
        )

    def _broken(
        self, table: str, told: Told, rows: pa.Table, period: int, corrupt: float
    ) -> tuple[pa.Table, Ints]:
        """Rows broken in one way each, and of which they are made; each way comes once."""
        whole = np.flatnonzero(told.rows["_op"].is_null().to_numpy())
        if not corrupt or not len(whole):
            return rows.slice(0, 0), whole[:0]
        num_ways = len(_broken_lines("{}")) if table == CLICKS else len(BROKEN_VALUES[table])
        dice = self._story.dice(table, "broken", period)
        source = whole[dice.random(len(whole)) < corrupt]
        way = dice.integers(0, num_ways, len(source))
        if table in self._owes_broken:
            self._owes_broken.remove(table)
            source = np.append(source, whole[np.arange(num_ways) % len(whole)])
            way = np.append(way, np.arange(num_ways))
        if table == CLICKS:
            lines = rows.take(source)["line"].to_pylist()
            texts = [_broken_lines(line)[of] for line, of in zip(lines, way.tolist(), strict=True)]
            return pa.table({"line": texts}, _LINES), source
        broken = _earlier(table, rows.take(source))
        for nth, (column, value) in enumerate(BROKEN_VALUES[table]):
            index = broken.schema.get_field_index(column)
            field = broken.schema.field(index)
            values = pc.if_else(pa.array(way == nth), pa.scalar(value, field.type), broken[column])
            broken = broken.set_column(index, field, values)
        return broken, source


def _earlier(table: str, rows: pa.Table) -> pa.Table:
    """The rows changed a second earlier: one with a broken field must not count for the whole."""
    name = "recorded_at" if table in APPENDED else "updated_at"
    index = rows.schema.get_field_index(name)
    earlier = pc.subtract(rows[name], pa.scalar(timedelta(seconds=1), pa.duration("us")))
    return rows.set_column(index, rows.schema.field(index), earlier)


# --- clicks as lines


def _lines(clicks: pa.Table) -> pa.Table:
    """Envelopes, each with a click as the text of a JSON object."""
    moments = pc.strftime(clicks["clicked_at"], "%Y-%m-%dT%H:%M:%SZ").to_pylist()
    millis = pc.divide(clicks["clicked_at"].cast(pa.int64()), 1000).to_pylist()
    names = ("click_id", "session_id", "customer_id", "product_id", "action")
    columns = [clicks[name].to_pylist() for name in names]
    lines = []
    for click, session, customer, product, action, moment, at in zip(
        *columns, moments, millis, strict=True
    ):
        who = "null" if customer is None else customer
        value = (
            f'{{"click_id":{click},"session_id":"{session}","customer_id":{who},'
            f'"product_id":{product},"action":"{action}","clicked_at":"{moment}"}}'
        ).replace('"', '\\"')
        lines.append(
            f'{{"key":"{session}","value":"{value}","topic":"{TOPIC}","partition":{product % 4},'
            f'"offset":{click},"timestamp":{at}}}'
        )
    return pa.table({"line": lines}, _LINES)


def _broken_lines(line: str) -> list[str]:
    """The line, broken in each of the ways that make a reject; of `{}` only as many."""
    envelope = json.loads(line)
    click = json.loads(envelope.get("value", "{}"))
    return [
        line[:-7],
        f"[{line}]",
        json.dumps(envelope | {"topic": "steps"}),
        json.dumps(envelope | {"value": None}),
        json.dumps({name: of for name, of in envelope.items() if name != "value"}),
        json.dumps(envelope | {"value": f"{json.dumps(click)} {{}}"}),
        *(json.dumps(envelope | {"value": json.dumps(click | way)}) for way in BROKEN_CLICKS),
    ]


def messages_of(content: bytes) -> list[Message]:
    """The lines of a file of clicks as messages; what is no envelope becomes the value of one."""
    messages = []
    for line in gzip.decompress(content).decode().splitlines():
        key, value, at = None, line, START.timestamp() * 1000
        try:
            envelope = json.loads(line)
            if envelope["topic"] == TOPIC:
                key, value, at = envelope["key"], envelope["value"], envelope["timestamp"]
        except (ValueError, TypeError, KeyError):
            pass
        messages.append(
            Message(
                TOPIC,
                None if key is None else key.encode(),
                None if value is None else value.encode(),
                round(at),
            )
        )
    return messages


# --- sets of files


def _content(table: str, rows: pa.Table) -> bytes:
    """A file without anything that differs from one run to the next."""
    if table == CLICKS:
        text = "".join(f"{line}\n" for line in rows["line"].to_pylist())
        return gzip.compress(text.encode(), compresslevel=6, mtime=0)
    if rows["_op"].null_count == len(rows):
        rows = rows.drop_columns(["_op"])  # nothing is gone
    sink = io.BytesIO()
    pq.write_table(
        rows,
        sink,
        compression="zstd",
        compression_level=3,
        use_dictionary=[
            name for name in ("status", "reason", "warehouse") if name in rows.column_names
        ],
        version="2.6",
        store_schema=False,
    )
    return sink.getvalue()


class _Names:
    """Gives files their names, and adds what is owed once: a file again, two unreadable ones."""

    def __init__(self, story: Story, *, again: bool, unreadable: bool) -> None:
        self._prefix = f"retail-{story.seed}-{story.start:%Y%m%dT%H%M%S}"
        self._owes_again, self._owes_unreadable = again, unreadable

    def files(self, position: int, at: float, rows: Mapping[str, pa.Table]) -> FileSet:
        """The files of a set."""
        name = f"{self._prefix}-{position:05d}"
        files: dict[str, dict[str, bytes]] = {}
        for table, of_table in rows.items():
            ending = "json.gz" if table == CLICKS else "parquet"
            files[table] = {f"{name}.{ending}": _content(table, of_table)}
        refused: tuple[str, ...] = ()
        if ORDERS in files:
            [content] = files[ORDERS].values()
            if self._owes_again:
                files[ORDERS][f"{name}-again.parquet"] = content
            if self._owes_unreadable:
                cut_off, text = f"{name}-cut-off.parquet", f"{name}-text.parquet"
                files[ORDERS][cut_off] = content[: len(content) // 2]
                files.setdefault(PRODUCTS, {})[text] = b"product_id,unit_price\n301,9.99\n"
                refused = (f"{ORDERS}/{cut_off}", f"{PRODUCTS}/{text}")
            self._owes_again = self._owes_unreadable = False
        return FileSet(at, files, refused)


def _moments(story: Story, every: float) -> Ints:
    """When each set is delivered: at the start, after each day, in the busy minutes each `every`.

    The last one is for what comes after the end.
    """
    days = np.arange(story.days + 1) * DAY
    step = max(round(every * SECOND), 1)
    begin = story.days * DAY
    num_steps = -(-(story.length - begin) // step) + 1
    return np.append(days, begin + step * np.arange(1, num_steps + 1)).astype(np.int64)


def _story(
    seed: int, days: int, minutes: int, customers: int, *, start: datetime, trouble: _Trouble
) -> Story:
    """The story, of which all arguments are in their range."""
    for name, number in (("days", days), ("minutes", minutes), ("customers", customers)):
        if number < 1:
            raise ValueError(f"{name} must be 1 or more; got {number}")
    check_shares(**trouble._asdict())
    check_start(start)
    return Story(seed, days, minutes, customers, start.astimezone(UTC))


def _told(
    story: Story, moments: Ints, trouble: _Trouble, in_database: Collection[str] = ()
) -> Iterator[_Set]:
    """The sets in their order, one after the other as the story is told."""
    delivery, shop = _Delivery(story, moments, trouble, in_database), Shop(story)
    known = Period(-1, 0, 0, False, 0.0)
    for period in chain([known], periods(story)):
        told = shop.known_at_the_start() if period is known else shop.goes_on(period)
        delivery.take(told, period.number)
        is_last = period.end == story.length
        yield from delivery.sets_until(int(moments[-1]) if is_last else period.end)


def sets(
    seed: int,
    *,
    days: int = 40,
    minutes: int = 60,
    customers: int = 200,
    late: float = 0.0,
    duplicates: float = 0.0,
    reversed_: bool = False,
    corrupt: float = 0.0,
    every: float = WRITTEN_EVERY,
    start: datetime = START,
) -> Iterator[FileSet]:
    """Tells a story and cuts it into sets of files. The same arguments, the same bytes.

    The first set, at second 0, holds what is known at the start; then one comes a day, and in the
    busy minutes one each `every` seconds, with what happened since the set before.

    Args:
        seed: Another seed, another story.
        days: How long the shop goes on before the busy minutes; the data grow with it.
        minutes: The busy minutes at the story's end.
        customers: The number of customers; the data grow with it, by 60 rows each in 40 days.
        late: The share of rows, 0 to 1, that come a minute to two days late; what would come after
            the story's end comes in one more set.
        duplicates: The share of rows that come twice; above 0, a file comes under another name too.
        reversed_: Whether the last set comes first, and in every file the last row; all of the
            story is in memory then.
        corrupt: The share of rows beside which a broken row comes; above 0, every way to be broken
            comes at least once, and two files come that cannot be read.
        every: Seconds of delivery time that one set of the busy minutes holds.
        start: When the story starts, with a time zone.

    Raises:
        ValueError: An argument is out of its range.
    """
    trouble = _Trouble(late, duplicates, corrupt)
    story = _story(seed, days, minutes, customers, start=start, trouble=trouble)
    if not every > 0:
        raise ValueError(f"every must be more than 0 seconds; got {every}")
    return _file_sets(story, every, trouble, reversed_=reversed_)


def _file_sets(
    story: Story, every: float, trouble: _Trouble, *, reversed_: bool
) -> Iterator[FileSet]:
    moments = _moments(story, every)
    names = _Names(story, again=trouble.duplicates > 0, unreadable=trouble.corrupt > 0)
    told: Iterable[_Set] = _told(story, moments, trouble)
    if reversed_:
        told = [_reversed(of_set) for of_set in reversed(list(told))]
    for position, of_set in enumerate(told):
        if of_set.rows:
            yield names.files(position, int(moments[position]) / SECOND, of_set.rows)


def _reversed(of_set: _Set) -> _Set:
    rows = {table: rows.take(np.arange(len(rows))[::-1]) for table, rows in of_set.rows.items()}
    return of_set._replace(rows=rows)


# --- writing


def write(
    home: Home,
    seed: int,
    *,
    days: int = 40,
    minutes: int = 60,
    customers: int = 200,
    late: float = 0.0,
    duplicates: float = 0.0,
    reversed_: bool = False,
    corrupt: float = 0.0,
    start: datetime = START,
    send: Send | None = None,
    database: Database | None = None,
) -> list[Path]:
    """Delivers the sets of `sets`, in the busy minutes one each five of them.

    Args:
        home: Where to.
        seed: As in `sets`, like all the others.
        days: See there.
        minutes: See there.
        customers: See there.
        late: See there; of a database only what is added to `APPENDED`, by long transactions.
        duplicates: See there; of a database nothing.
        reversed_: See there; not into a database.
        corrupt: See there; of a database nothing.
        start: See there; the files must not be ingested more than an hour before the story's end.
        send: Sends the clicks, which then come as no files.
        database: Holds the shop's tables, which then come as no files.

    Returns:
        The files in order of delivery.

    Raises:
        ValueError: An argument is out of its range.
    """
    if database is None:
        told = sets(
            seed,
            days=days,
            minutes=minutes,
            customers=customers,
            late=late,
            duplicates=duplicates,
            reversed_=reversed_,
            corrupt=corrupt,
            start=start,
        )
        inbox = _inbox(home, send)
        for files in told:
            inbox.prepare(files)
            inbox.reveal()
        return inbox.close()
    if reversed_:
        raise ValueError("reversed: a database takes what happens in its order")
    trouble = _Trouble(late, duplicates, corrupt)
    story = _story(seed, days, minutes, customers, start=start, trouble=trouble)
    return _play(story, WRITTEN_EVERY, trouble, _inbox(home, send), database=database)


def deliver(
    home: Home,
    seed: int,
    *,
    every: float,
    days: int = 40,
    minutes: int = 60,
    customers: int = 200,
    late: float = 0.0,
    duplicates: float = 0.0,
    corrupt: float = 0.0,
    now: datetime | None = None,
    send: Send | None = None,
    database: Database | None = None,
) -> list[Path]:
    """Delivers the days at once and the busy minutes as they happen; Ctrl-C ends it in order.

    Args:
        home: Where to.
        seed: As in `write`, like all the others but two.
        every: Seconds from one set of the busy minutes to the next.
        days: See there.
        minutes: See there.
        customers: See there.
        late: See there.
        duplicates: See there.
        corrupt: See there.
        now: When the busy minutes begin, with a time zone; None: at this moment.
        send: See there.
        database: See there.

    Returns:
        The files that were delivered, in their order.
    """
    start = (now or datetime.now(UTC)) - timedelta(days=days)
    trouble = _Trouble(late, duplicates, corrupt)
    story = _story(seed, days, minutes, customers, start=start, trouble=trouble)

    def wait(seconds: float) -> None:
        time.sleep(max(start.timestamp() + seconds - time.time(), 0))

    return _play(story, every, trouble, _inbox(home, send), database=database, wait=wait)


def _inbox(home: Home, send: Send | None) -> Inbox:
    return Inbox(home, send, {CLICKS: messages_of})


def _play(
    story: Story,
    every: float,
    trouble: _Trouble,
    inbox: Inbox,
    *,
    database: Database | None,
    wait: Callable[[float], None] = lambda _: None,
) -> list[Path]:
    """Delivers set after set, each at its moment: what the database gets is committed then."""
    moments, in_database = _moments(story, every), SCHEMAS if database else ()
    names = _Names(story, again=trouble.duplicates > 0, unreadable=trouble.corrupt > 0)
    try:
        for of_set in _told(story, moments, trouble, in_database):
            at = int(moments[of_set.number]) / SECOND
            as_files = {
                table: rows for table, rows in of_set.rows.items() if table not in in_database
            }
            inbox.prepare(names.files(of_set.number, at, as_files))
            if database:
                database.prepare(of_set.rows)
            wait(at)
            if database:
                database.commit()
            inbox.reveal()
    except KeyboardInterrupt:
        pass
    return inbox.close()
