"""What needs somebody now, by the live views, and a line for each alert that opens and closes.

              so, as of A                        so, long enough
    quiet ───────────────────> watched ──────────────────────────> open      OPENED is told, id A
      ^ ^                         │                                 │ ^
      │ └──────── not so ─────────┘                          not so │ │ so
      │                                                             v │
      └──────────────────── not so, long enough ─────────────────ending      CLOSED is told, id A

Long enough is what the kind says, at every look and by the views' `as_of`, never by the clock: at
once for a low stock, a minute for an overload, so that no flicker is told. What is unknown (null)
changes nothing. What is gone from the view is not so any more; of a view that is empty, at once.
Not all that changes a view moves its `as_of`: an alert begins a microsecond after the one before
has closed, at the earliest.

Each is told at least once. What is to be told is written into the state, with its id, before it is
printed, and taken out afterwards: after a kill in between the next process tells the very same.

What opened and closed between two looks is told from the kind's history, a mart, which comes later
than the view. A row of it is the told alert that was open together with it. Where that was open
together with none, what closes it came late: it is the last that opened before. Or no time passed
by the view's `as_of`, as a reorder point went up and down: if that row is another's, it is the
first that opened after and is no other's. Every other row has been missed. Of those the closed ones
are told, by the moment they opened at; the open one only in place of a told one that has closed
meanwhile, since else the view tells of it. What closed the view tells of, too, unless it knows
nothing of the row any more, as of a stock that has lost its reorder point: that the history closes,
if the two were open together. The history is read of what closed since the first look, from a week
before the last moment in it on, however long it has not been published. So late data of a week that
makes an alert of the past is told as the history has it, and what it takes out is not taken back.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import NoReturn

from pydantic import BaseModel, Field, ValidationError
from pyspark.errors import PySparkException

from ingestion.faults import first_line
from ingestion.home import Home
from ingestion.lock import locked
from lakehouse.errors import LakehouseError
from lakehouse.reading import Ask, Row

_MOMENT = timedelta(microseconds=1)
# From the end of a look to the next.
_PAUSE_SECONDS = 1.0
# How often the history is asked, which follows at the pace of the builds; and the views without a
# new load, should they have been made anew.
_HISTORY_SECONDS = 30.0
# How late, in data's time and before the last moment of the history, data may be and still be told.
_HISTORY_LATE = timedelta(days=7)
_TIMES = ("as_of", "opened_at", "closed_at")

Keys = tuple[int | str, ...]


@dataclass(frozen=True)
class Kind:
    """A kind of alert: a live view with an `as_of`, and when a row of it needs somebody.

    Attributes:
        name: Its name in ids.
        title: Its name in words.
        view: The live view.
        keys: The columns that tell its rows apart.
        condition: The column that is true where somebody is needed, null where nobody knows.
        figures: The columns that tell more.
        subject: What a row is about, in words.
        words: The figures of a row in words; empty where they are not known.
        lasts: For how long the condition, and its end, have to last before they are told.
        history: The mart of all alerts there were, with the keys, `opened_at` and `closed_at`.
    """

    name: str
    title: str
    view: str
    keys: tuple[str, ...]
    condition: str
    figures: tuple[str, ...]
    subject: Callable[[Row], str]
    words: Callable[[Row], str]
    lasts: timedelta = timedelta()
    history: str | None = None

    def keys_of(self, row: Row) -> Keys:
        """The keys of a row."""
        return tuple(row[key] for key in self.keys)


def _words_of_stock(row: Row) -> str:
    if row["on_hand"] is None:
        return ""
    on_hand = row["on_hand"]
    left = f"oversold by {-on_hand}" if on_hand < 0 else f"{on_hand} left"
    words = f"{left}, reorder at {row['reorder_point']}"
    days = row["days_of_cover"]
    return words if days is None or days <= 0 else f"{words}, lasts {days:.1f} days"


def _words_of_server(row: Row) -> str:
    if row["usage_rate"] is None:
        return ""
    return (
        f"in {row['location']}, {row['usage_rate']:.0%} of {row['capacity_mbps']:g} Mbps in use, "
        f"{row['devices_connected']} devices"
    )


KINDS = (
    Kind(
        name="low_stock",
        title="low stock",
        view="gold.stock_status",
        keys=("product_id", "warehouse"),
        condition="is_low",
        figures=("on_hand", "reorder_point", "days_of_cover"),
        subject=lambda row: f"product {row['product_id']} in warehouse {row['warehouse']}",
        words=_words_of_stock,
        history="gold.inventory_alerts",
    ),
    Kind(
        name="overloaded_server",
        title="overloaded server",
        view="gold.server_status",
        keys=("server_id",),
        condition="is_overloaded",
        figures=(
            *("location", "devices_connected", "bandwidth_used_mbps", "capacity_mbps"),
            "usage_rate",
        ),
        subject=lambda row: f"server {row['server_id']}",
        words=_words_of_server,
        lasts=timedelta(minutes=1),
    ),
)


class Alert(BaseModel):
    """An alert, from the look that saw it first.

    Attributes:
        keys: Whose it is.
        as_of: Of that look, or the moment at which it opened by the history.
        is_open: Whether its opening has been told, and its closing not.
        turned_at: Since when every look has seen it otherwise than `is_open` says.
        closed_at: When it closed, once that has been told.
    """

    keys: Keys
    as_of: datetime
    is_open: bool = False
    turned_at: datetime | None = None
    closed_at: datetime | None = None


class Standing(BaseModel):
    """What is known of a kind's alerts.

    Attributes:
        alerts: Those that are watched or open, and, where there is a history, those of which it
            may still tell.
        since: What has closed up to this moment the history need not tell any more.
    """

    alerts: list[Alert] = Field(default_factory=list)
    since: datetime | None = None


class Event(BaseModel):
    """What is to be told: an alert opened or closed, in words and as an object of JSON."""

    text: str
    record: Row


class _State(BaseModel):
    kinds: dict[str, Standing] = Field(default_factory=dict)
    untold: list[Event] = Field(default_factory=list)


class Watch:
    """Sees the alerts of a kind open and close.

    Args:
        kind: The kind.
        standing: What is known of them, which it changes.
    """

    def __init__(self, kind: Kind, standing: Standing) -> None:
        self._kind = kind
        self._standing = standing
        self._as_of: datetime | None = None
        self._unknown: set[Keys] = set()

    def look(self, rows: list[Row]) -> list[Event]:
        """What a look at the view, all rows of it, tells.

        Raises:
            LakehouseError: The view knows no now.
        """
        rows_by_key = {self._kind.keys_of(row): row for row in rows if row["as_of"]}
        if rows and not rows_by_key:
            raise LakehouseError(
                f"{self._kind.view} knows no now. It does with the first event of its source."
            )
        standing, condition = self._standing, self._kind.condition
        alerts = {alert.keys: alert for alert in standing.alerts if not alert.closed_at}
        earliest = self._earliest()
        if rows:
            self._as_of = max(row["as_of"] for row in rows_by_key.values())
            if self._kind.history:
                standing.since = standing.since or self._as_of
        for keys in alerts.keys() - rows_by_key.keys():
            row = self._row(keys, self._as_of or earliest[keys])
            rows_by_key[keys] = row | {condition: False}
        # Where all is gone no time passes any more.
        lasts = self._kind.lasts if rows else timedelta()
        self._unknown = {keys for keys, row in rows_by_key.items() if row[condition] is None}
        events = []
        for keys, row in sorted(rows_by_key.items()):
            is_so = row[condition]
            if is_so is not None:
                as_of = max(row["as_of"], earliest.get(keys, row["as_of"]))
                events += self._judge(alerts.get(keys), is_so, row | {"as_of": as_of}, lasts)
        return events

    def _earliest(self) -> dict[Keys, datetime]:
        """By keys, the first moment at which something new can be so: else two had one id."""
        earliest: dict[Keys, datetime] = {}
        for alert in self._standing.alerts:
            moment = alert.closed_at + _MOMENT if alert.closed_at else alert.as_of
            earliest[alert.keys] = max(moment, earliest.get(alert.keys, moment))
        return earliest

    def _judge(self, alert: Alert | None, is_so: bool, row: Row, lasts: timedelta) -> list[Event]:
        if alert is None:
            if not is_so:
                return []
            alert = Alert(keys=self._kind.keys_of(row), as_of=row["as_of"])
            self._standing.alerts.append(alert)
        if is_so == alert.is_open:
            alert.turned_at = None
            if not is_so:
                self._standing.alerts.remove(alert)
            return []
        alert.turned_at = alert.turned_at or row["as_of"]
        if row["as_of"] - alert.turned_at < lasts:
            return []
        if is_so:
            alert.turned_at = None
            return [self._opened(alert, row)]
        return [self._closed(alert, row)]

    def history_of_interest(self) -> str | None:
        """The statement for `catch_up`; None where there is no history, or was no look yet."""
        if self._standing.since is None:
            return None
        columns = ", ".join((*self._kind.keys, "opened_at", "closed_at", *self._kind.figures))
        return (
            f"select {columns} from {self._kind.history} "
            f"where coalesce(closed_at > timestamp '{self._standing.since}', true)"
        )

    def catch_up(self, rows: list[Row]) -> list[Event]:
        """What the history tells, which is all of its rows that `history_of_interest` asks for."""
        standing = self._standing
        if standing.since is None or not rows:
            return []
        alerts: dict[Keys, list[Alert]] = {}
        for alert in standing.alerts:
            if alert.is_open or alert.closed_at:
                alerts.setdefault(alert.keys, []).append(alert)
        # The view's `as_of` says nothing of how far the history has come.
        end = max(row["closed_at"] or row["opened_at"] for row in rows)
        since = max(standing.since, end - _HISTORY_LATE)
        rows = sorted(rows, key=lambda row: (self._kind.keys_of(row), row["opened_at"]))
        events = []
        asked_again = []
        for keys, of_keys in groupby(rows, self._kind.keys_of):
            of_key = list(of_keys)
            same = _in_history(alerts.get(keys, []), of_key)
            asked_again += [
                alert for alert, row in same if not row["closed_at"] or row["closed_at"] > since
            ]
            events += self._missed(of_key, same)
        standing.since = since
        standing.alerts = [
            alert
            for alert in standing.alerts
            if not alert.closed_at or alert.closed_at >= since or alert in asked_again
        ]
        return events

    def _missed(self, rows: list[Row], same: list[tuple[Alert, Row]]) -> list[Event]:
        """What was missed of the alerts of one key, the earlier first."""
        told = [row["opened_at"] for _, row in same]
        closed_meanwhile = [
            (alert, row["closed_at"]) for alert, row in same if alert.is_open and row["closed_at"]
        ]
        missed = [row for row in rows if row["opened_at"] not in told]
        events = []
        for row in missed:
            if not row["closed_at"]:
                if not closed_meanwhile:  # the view tells of it
                    continue
                [(last, closed_at)] = closed_meanwhile
                events.append(self._closed(last, self._row(last.keys, closed_at)))
            alert = Alert(keys=self._kind.keys_of(row), as_of=row["opened_at"])
            self._standing.alerts.append(alert)
            events.append(self._opened(alert, row | {"as_of": row["opened_at"]}))
            if closed_at := row["closed_at"]:
                events.append(self._closed(alert, self._row(alert.keys, closed_at)))
        for last, closed_at in closed_meanwhile:
            # What closed before it opened is another, whose row has not come yet.
            if last.is_open and last.keys in self._unknown and closed_at > last.as_of:
                events.append(self._closed(last, self._row(last.keys, closed_at)))
        return sorted(events, key=lambda event: event.record["as_of"])

    def _row(self, keys: Keys, as_of: datetime) -> Row:
        """A row of which no figure is known."""
        values = dict(zip(self._kind.keys, keys, strict=True))
        return values | {"as_of": as_of} | dict.fromkeys(self._kind.figures)

    def _opened(self, alert: Alert, row: Row) -> Event:
        alert.is_open = True
        return self._event("opened", alert, row)

    def _closed(self, alert: Alert, row: Row) -> Event:
        alert.is_open = False
        alert.turned_at = None
        alert.closed_at = row["as_of"]
        if self._kind.history is None:
            self._standing.alerts.remove(alert)
        return self._event("closed", alert, row)

    def _event(self, what: str, alert: Alert, row: Row) -> Event:
        kind = self._kind
        since, as_of = _text(alert.as_of), _text(row["as_of"])
        record = {
            "kind": kind.name,
            "event": what,
            "id": "/".join(map(str, (kind.name, *alert.keys, since))),
            **{key: row[key] for key in kind.keys},
            "since": since,
            "as_of": as_of,
            **{figure: row[figure] for figure in kind.figures},
        }
        words = ": ".join(filter(None, (kind.subject(row), kind.words(row))))
        when = f"as of {as_of}" if since == as_of else f"since {since}, as of {as_of}"
        return Event(text=f"{what.upper()} {kind.title}: {words} ({when})", record=record)


def _in_history(alerts: list[Alert], rows: list[Row]) -> list[tuple[Alert, Row]]:
    """The told alerts of one key that have come into its history, sorted, and the row of each."""
    same: list[tuple[Alert, Row]] = []

    def free(rows: list[Row]) -> list[Row]:
        taken = [row["opened_at"] for _, row in same]
        return [row for row in rows if row["opened_at"] not in taken]

    alerts = sorted(alerts, key=lambda alert: alert.as_of)
    alone = []
    for alert in alerts:
        together = [
            row
            for row in rows
            if (alert.closed_at is None or row["opened_at"] < alert.closed_at)
            and (row["closed_at"] is None or row["closed_at"] > alert.as_of)
        ]
        if free(together):
            same.append((alert, free(together)[0]))
        else:
            alone.append(alert)
    for alert in alone:
        near = [row for row in rows if row["opened_at"] <= alert.as_of][-1:]
        if alert.closed_at == alert.as_of:
            near += [row for row in rows if row["opened_at"] > alert.as_of]
        same += [(alert, row) for row in free(near)[:1]]
    return same


class Follower:
    """Tells of each alert as it opens and as it closes, at least once.

    Args:
        home: The home, whose folder `alerts` keeps what has been told.
        ask: Asks the lakehouse.
        tell: Prints an event; when it returns, it has been told.

    Raises:
        LakehouseError: What has been told cannot be read.
    """

    def __init__(self, home: Home, ask: Ask, tell: Callable[[Event], None]) -> None:
        self._file = home.alerts / "told.json"
        self._ask = ask
        self._tell = tell
        self._state = self._read()
        self._saved = ""
        self._watches = {
            kind.name: Watch(kind, self._state.kinds.setdefault(kind.name, Standing()))
            for kind in KINDS
        }
        self._history_due: dict[str, float] = {}
        self._load: int | None = None
        self._due = 0.0

    def has_news(self) -> bool:
        """Whether a load has closed since it was asked last; also where that was long ago.

        What a live view answers moves with loads alone, and costs ten times what this does.

        Raises:
            PySparkException, LakehouseError: The lakehouse does not answer.
        """
        rows = self._ask(
            "select max(load_id) as load_id from audit.loads "
            f"where status = 'closed' and load_id >= {self._load or 0}"
        )
        load = rows[0]["load_id"] if rows else None
        if load is not None and load == self._load and time.monotonic() < self._due:
            return False
        self._load, self._due = load, time.monotonic() + _HISTORY_SECONDS
        return True

    def tell(self) -> None:
        """Tells what is to be told; also what an earlier one was going to.

        Raises:
            OSError: It cannot be told, or not be noted; it is told again.
        """
        for event in self._state.untold:
            self._tell(event)
        self._state.untold = []
        self._save()

    def look(self, kind: Kind) -> bool:
        """Looks at a kind's view, now and then at its history too, and tells what these tell.

        Returns:
            Whether the view is there.

        Raises:
            PySparkException, LakehouseError: The lakehouse does not answer.
            OSError: As of `tell`.
        """
        watch = self._watches[kind.name]
        columns = ", ".join((*kind.keys, "as_of", kind.condition, *kind.figures))
        is_there = self._note(watch.look, f"select {columns} from {kind.view}")
        history = watch.history_of_interest()
        if history and time.monotonic() >= self._history_due.get(kind.name, 0):
            self._note(watch.catch_up, history)
            self._history_due[kind.name] = time.monotonic() + _HISTORY_SECONDS
        return is_there

    def _note(self, read: Callable[[list[Row]], list[Event]], sql: str) -> bool:
        rows = self._ask(sql)
        if rows is None:
            return False
        self._state.untold += read([_with_times(row) for row in rows])
        self._save()
        self.tell()
        return True

    def _read(self) -> _State:
        try:
            return _State.model_validate_json(self._file.read_bytes())
        except FileNotFoundError:
            return _State()
        except ValidationError as error:
            raise LakehouseError(
                f"{self._file} is damaged: {error.errors()[0]['msg']}. Remove it to begin anew: "
                "what is open is told again then, and what closed meanwhile is not told."
            ) from None

    def _save(self) -> None:
        """Writes the state down, where it has changed."""
        text = self._state.model_dump_json()
        if text == self._saved:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        hidden = self._file.with_name(f".{self._file.name}")
        with hidden.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        hidden.replace(self._file)
        self._saved = text


def only_follower(home: Home) -> AbstractContextManager[None]:
    """Holds the right to follow the alerts of this home; it frees itself when the process ends.

    Raises:
        LockedError: Another process follows them at the moment.
    """
    return locked(home.alerts / "lock", f"follows the alerts of {home.root}")


def follow(follower: Follower, say: Callable[[str], None]) -> NoReturn:
    """Looks without end, while `only_follower` is held. It may be killed at any moment.

    Args:
        follower: What looks and tells.
        say: Told when the lakehouse does not answer for a kind, and when it does again, and once of
            a view that is not there yet.

    Raises:
        OSError: An alert cannot be told, or not be noted as told.
    """
    follower.tell()
    troubled: set[str] = set()
    awaited: set[str] = set()
    settled: set[str] = set()  # which have answered: nothing moves them but a load
    while True:
        try:
            if follower.has_news():
                settled.clear()
        except (PySparkException, LakehouseError):
            settled.clear()  # a look tells what is the matter
        for kind in KINDS:
            if kind.name in settled:
                continue
            title = kind.title.capitalize()
            try:
                if follower.look(kind):
                    settled.add(kind.name)
                elif kind.name not in awaited:
                    say(f"{kind.view} is not built yet: it is followed as soon as it is.")
                    awaited.add(kind.name)
            except (PySparkException, LakehouseError) as error:
                if kind.name not in troubled:
                    say(f"{title} is not known for now: {first_line(error)}")
                troubled.add(kind.name)
            else:
                if kind.name in troubled:
                    say(f"{title} is known again.")
                troubled.discard(kind.name)
        time.sleep(_PAUSE_SECONDS)


def needed_now(ask: Ask) -> Iterator[tuple[Kind, list[Row]]]:
    """The rows of each kind that need somebody now, by key, with their times as text.

    Raises:
        LakehouseError: None of the views is there.
    """
    is_any_there = False
    for kind in KINDS:
        columns = ", ".join((*kind.keys, *kind.figures, "as_of"))
        rows = ask(f"select {columns} from {kind.view} where {kind.condition}")
        if rows is not None:
            is_any_there = True
            rows = sorted((_with_times(row) for row in rows), key=kind.keys_of)
            yield kind, [row | {"as_of": row["as_of"] and _text(row["as_of"])} for row in rows]
    if not is_any_there:
        views = " nor ".join(kind.view for kind in KINDS)
        raise LakehouseError(
            f"Nothing is built that could alert: neither {views} is there. Once data has "
            "come (lakehouse land, lakehouse generate): lakehouse run"
        )


def as_read(row: Row) -> Row:
    """A row for people: what is oversold lasts no days, and no fewer."""
    return row | {"days_of_cover": 0.0} if (row.get("days_of_cover") or 0) < 0 else row


def _with_times(row: Row) -> Row:
    return row | {name: _moment(row[name]) for name in _TIMES if name in row}


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def _text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
