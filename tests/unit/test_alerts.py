"""Alerts against views and a history that are made up: each transition, and any of them killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any, TextIO

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyspark.errors import PySparkException

from ingestion import bronze
from ingestion.home import Home
from ingestion.lock import LockedError
from lakehouse import alerts, cli, reading
from lakehouse.alerts import KINDS, Event, Follower, Kind
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings

STOCK, SERVER = KINDS
START = datetime(2026, 11, 30, 10, tzinfo=UTC)
LOW = {"on_hand": 3, "reorder_point": 5, "days_of_cover": 1.25}
ENOUGH = {"on_hand": 40, "reorder_point": 5, "days_of_cover": None}
UNKNOWN = dict.fromkeys(LOW)
BUSY = {
    **{"location": "Bonn", "devices_connected": 120, "bandwidth_used_mbps": 960.0},
    **{"capacity_mbps": 1000.0, "usage_rate": 0.96},
}


def at(seconds: float) -> str:
    """As the engine's answers have it."""
    return str(START + timedelta(seconds=seconds))


def iso(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def stock(
    as_of: float | None, is_low: bool | None, product: int = 12, warehouse: str = "north"
) -> dict[str, Any]:
    return {
        **{"product_id": product, "warehouse": warehouse, "is_low": is_low},
        "as_of": None if as_of is None else at(as_of),
        **(LOW if is_low else ENOUGH),
    }


def low(
    opened_at: float, closed_at: float | None, product: int = 12, warehouse: str = "north"
) -> dict[str, Any]:
    """A row of the history."""
    closed = None if closed_at is None else at(closed_at)
    keys = {"product_id": product, "warehouse": warehouse}
    return keys | {"opened_at": at(opened_at), "closed_at": closed} | LOW


def server(as_of: float, is_overloaded: bool | None, server_id: int = 3) -> dict[str, Any]:
    return {"server_id": server_id, "as_of": at(as_of), "is_overloaded": is_overloaded} | BUSY


@pytest.fixture(autouse=True, scope="module")
def memory_will_do() -> Iterator[None]:
    """No test cuts the power, and a busy disk would take minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


class KilledError(BaseException):
    """The process is no more."""


@dataclass
class Shop:
    """A lakehouse of these views, and what has been told of it."""

    home: Home
    views: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    told: list[Event] = field(default_factory=list)
    kills: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self.follower = Follower(self.home, self.ask, self.tell)
        self.follower.tell()

    def ask(self, sql: str) -> list[dict[str, Any]] | None:
        self.asked.append(sql)
        what, _, rest = sql.removeprefix("select ").partition(" from ")
        view, _, condition = rest.partition(" where ")
        if view in self.failing:
            raise PySparkException(f"{view} fails")
        if view not in self.views:
            return None
        since = condition.partition("timestamp '")[2].partition("'")[0]
        return [
            {column: row[column] for column in what.split(", ")}
            for row in reversed(self.views[view])  # in any order
            if row.get(condition, True) and (not since or (row["closed_at"] or "9") > since)
        ]

    def tell(self, event: Event) -> None:
        kill = self.kills.pop(0) if self.kills else ""
        if kill == "before":
            raise KilledError
        self.told.append(event)
        if kill == "after":
            raise KilledError

    def look(self, *rows: dict[str, Any]) -> list[tuple[str, str]]:
        """A look of which the view of these rows is the newest: what it tells, and of which id."""
        kind = SERVER if rows and "server_id" in rows[0] else STOCK
        self.views[kind.view] = list(rows)
        before = len(self.told)
        self.follower.look(kind)
        return [(event.record["event"], event.record["id"]) for event in self.told[before:]]

    def known_of(self, kind: Kind) -> list[dict[str, Any]]:
        """The alerts of a kind that are kept."""
        state = json.loads((self.home.alerts / "told.json").read_text())
        known: list[dict[str, Any]] = state["kinds"][kind.name]["alerts"]
        return known


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """The history is asked at each look."""
    monkeypatch.setattr(alerts, "_HISTORY_SECONDS", 0)
    return Shop(Home(tmp_path))


def id_of(as_of: float, product: int = 12) -> str:
    return f"low_stock/{product}/north/{iso(as_of)}"


def test_a_low_stock_is_told_as_it_opens_and_as_it_closes(shop: Shop) -> None:
    shop.look(stock(0, False))
    shop.look(stock(5, True))
    shop.look(stock(6, True))
    shop.look(stock(9, False))
    keys = {"product_id": 12, "warehouse": "north"}
    same = {"kind": "low_stock", "id": id_of(5), **keys, "since": iso(5)}
    assert [event.record for event in shop.told] == [
        same | {"event": "opened", "as_of": iso(5)} | LOW,
        same | {"event": "closed", "as_of": iso(9)} | ENOUGH,
    ]
    assert [event.text for event in shop.told] == [
        "OPENED low stock: product 12 in warehouse north: 3 left, reorder at 5, lasts 1.2 days "
        "(as of 2026-11-30T10:00:05Z)",
        "CLOSED low stock: product 12 in warehouse north: 40 left, reorder at 5 "
        "(since 2026-11-30T10:00:05Z, as of 2026-11-30T10:00:09Z)",
    ]


def test_what_is_oversold_is_told_so(shop: Shop) -> None:
    shop.look(stock(0, True) | {"on_hand": -17, "days_of_cover": -6.8})
    [event] = shop.told
    assert ": oversold by 17, reorder at 5 (as of " in event.text
    assert event.record["days_of_cover"] == -6.8


def test_the_first_look_tells_all_that_is_open(shop: Shop) -> None:
    rows = [stock(0, True, 2), stock(0, False, 3), stock(0, True, 1), stock(0, None, 4)]
    assert shop.look(*rows) == [("opened", id_of(0, 1)), ("opened", id_of(0, 2))]


def test_where_no_event_moves_the_as_of_each_alert_has_an_id_of_its_own(shop: Shop) -> None:
    told = [told for is_low in (True, False) * 3 for told in shop.look(stock(0, is_low))]
    assert [what for what, _ in told] == ["opened", "closed"] * 3
    assert [an_id for _, an_id in told[::2]] == [an_id for _, an_id in told[1::2]]
    assert len({an_id for _, an_id in told}) == 3
    shop.restart()
    assert shop.look(stock(9, True)) == [("opened", id_of(9))]


def test_what_is_unknown_neither_opens_nor_closes_nor_begins_anew(shop: Shop) -> None:
    assert shop.look(stock(0, None)) == []
    assert shop.look(stock(1, True)) == [("opened", id_of(1))]
    assert shop.look(stock(2, None)) == []
    assert shop.look(stock(3, True)) == []
    assert shop.look(server(0, True)) == shop.look(server(30, None)) == []
    assert [what for what, _ in shop.look(server(60, True))] == ["opened"]
    assert shop.look(server(70, False)) == shop.look(server(100, None)) == []
    assert [what for what, _ in shop.look(server(130, False))] == ["closed"]


def test_a_view_in_which_nothing_has_happened_tells_nothing(shop: Shop) -> None:
    shop.look(stock(0, True))
    with pytest.raises(LakehouseError, match=r"gold.stock_status knows no now"):
        shop.look(stock(None, False))
    assert len(shop.told) == 1


def test_a_view_that_has_become_empty_closes_what_was_open(shop: Shop) -> None:
    shop.look(stock(0, True))
    shop.look(stock(5, True))
    shop.views[STOCK.view] = []
    assert shop.look() == [("closed", id_of(0))]
    assert shop.told[-1].record["as_of"] == iso(5)
    shop.look(stock(9, True))
    shop.restart()
    assert shop.look() == [("closed", id_of(9))]
    assert shop.look() == []


def test_the_last_server_that_is_gone_waits_for_no_minute(shop: Shop) -> None:
    shop.look(server(0, True))
    shop.look(server(60, True))
    shop.views[SERVER.view] = []
    shop.follower.look(SERVER)
    assert shop.told[-1].record["event"] == "closed"
    assert shop.told[-1].record["as_of"] == iso(60)


def test_an_overload_is_told_after_a_minute_and_so_is_its_end(shop: Shop) -> None:
    for seconds in (0, 30, 59):
        assert shop.look(server(seconds, True)) == []
    told = f"overloaded_server/3/{iso(0)}"
    assert shop.look(server(60, True)) == [("opened", told)]
    assert shop.look(server(61, True)) == []
    for seconds in (70, 129):
        assert shop.look(server(seconds, False)) == []
    assert shop.look(server(130, False)) == [("closed", told)]
    assert shop.look(server(131, False)) == []
    assert shop.known_of(SERVER) == []
    assert [event.text for event in shop.told] == [
        "OPENED overloaded server: server 3: in Bonn, 96% of 1000 Mbps in use, 120 devices "
        "(since 2026-11-30T10:00:00Z, as of 2026-11-30T10:01:00Z)",
        "CLOSED overloaded server: server 3: in Bonn, 96% of 1000 Mbps in use, 120 devices "
        "(since 2026-11-30T10:00:00Z, as of 2026-11-30T10:02:10Z)",
    ]


def test_a_flicker_begins_the_minute_anew(shop: Shop) -> None:
    for seconds, is_so in ((0, True), (30, False), (40, True), (99, True)):
        assert shop.look(server(seconds, is_so)) == []
    assert shop.look(server(100, True)) == [("opened", f"overloaded_server/3/{iso(40)}")]
    for seconds, is_so in ((110, False), (120, True), (130, False), (189, False)):
        assert shop.look(server(seconds, is_so)) == []
    assert [what for what, _ in shop.look(server(190, False))] == ["closed"]


def test_a_minute_that_a_restart_falls_into_goes_on(shop: Shop) -> None:
    shop.look(server(0, True))
    shop.restart()
    assert shop.look(server(60, True)) == [("opened", f"overloaded_server/3/{iso(0)}")]


def test_what_is_gone_from_the_view_closes(shop: Shop) -> None:
    shop.look(stock(0, True))
    assert shop.look(stock(5, False, product=1)) == [("closed", id_of(0))]
    assert shop.told[-1].text == (
        "CLOSED low stock: product 12 in warehouse north "
        "(since 2026-11-30T10:00:00Z, as of 2026-11-30T10:00:05Z)"
    )
    assert {name: shop.told[-1].record[name] for name in UNKNOWN} == UNKNOWN


def test_what_opened_and_closed_between_two_looks_comes_from_the_history(shop: Shop) -> None:
    shop.look(stock(0, False))
    shop.restart()
    assert shop.look(stock(100, False)) == []
    shop.views[STOCK.history or ""] = [low(10, 20), low(30, 40), low(-20, -10), low(-5, 0, 1)]
    told = [("opened", id_of(10)), ("closed", id_of(10))]
    assert shop.look(stock(101, False)) == [*told, ("opened", id_of(30)), ("closed", id_of(30))]
    assert [event.record["as_of"] for event in shop.told] == [iso(10), iso(20), iso(30), iso(40)]
    assert {name: shop.told[0].record[name] for name in LOW} == LOW
    assert {name: shop.told[1].record[name] for name in LOW} == UNKNOWN
    shop.restart()
    assert shop.look(stock(102, False)) == []


@pytest.mark.parametrize(
    ("opened_at", "closed_at"),
    [
        (7, 19),  # as the history has it, earlier than the look
        (7, 9),  # what closed it came after the look, late
        (12, 19),  # by a clock that runs ahead
    ],
)
def test_the_history_does_not_tell_again_what_the_view_has_told(
    shop: Shop, opened_at: float, closed_at: float
) -> None:
    shop.look(stock(0, False))
    shop.look(stock(10, True))
    shop.views[STOCK.history or ""] = [low(opened_at, None)]
    assert shop.look(stock(15, True)) == []
    assert shop.look(stock(20, False)) == [("closed", id_of(10))]
    shop.views[STOCK.history or ""] = [low(opened_at, closed_at)]
    assert shop.look(stock(21, False)) == []


def test_what_a_reorder_point_opened_and_closed_at_one_as_of_is_not_told_again(shop: Shop) -> None:
    """It has its time in the history, and events alone move the view's `as_of`."""
    for as_of, is_low in ((0, False), (5, True), (10, False)):
        shop.look(stock(as_of, is_low))
    shop.look(stock(10, True))
    shop.look(stock(10, False))
    shop.look(stock(10, True))
    shop.look(stock(10, False))
    rows = [low(5, 10), low(3600, 7200), low(9000, 9100)]
    for number in range(1, 4):
        shop.views[STOCK.history or ""] = rows[:number]
        assert shop.look(stock(10, False)) == []
    shop.views[STOCK.history or ""] = [*rows, low(9500, 9600)]
    assert shop.look(stock(9999, False)) == [("opened", id_of(9500)), ("closed", id_of(9500))]


def test_what_closed_and_opened_again_between_two_looks_is_told_so(shop: Shop) -> None:
    shop.look(stock(0, True))
    shop.restart()
    rows = [low(-5, 10), low(20, 30), low(40, None)]
    shop.views[STOCK.history or ""] = rows[:1]
    assert shop.look(stock(50, True)) == []  # the history has not come so far
    shop.views[STOCK.history or ""] = rows
    assert shop.look(stock(50, True)) == [
        *[("closed", id_of(0)), ("opened", id_of(20)), ("closed", id_of(20))],
        ("opened", id_of(40)),
    ]
    assert shop.look(stock(60, False)) == [("closed", id_of(40))]


def test_what_the_view_no_longer_knows_is_closed_by_the_history(shop: Shop) -> None:
    """A reorder point is deleted: the view is null from then on, and the alert has ended."""
    shop.look(stock(0, False))
    shop.look(stock(10, True))
    shop.views[STOCK.history or ""] = [low(10, None)]
    assert shop.look(stock(20, None)) == []
    shop.views[STOCK.history or ""] = [low(10, 15)]
    assert shop.look(stock(20, None)) == [("closed", id_of(10))]
    assert shop.told[-1].record["as_of"] == iso(15)
    shop.restart()
    assert shop.look(stock(30, None)) == []
    assert shop.look(stock(40, True)) == [("opened", id_of(40))]
    assert shop.look(stock(50, False)) == [("closed", id_of(40))]


def test_an_earlier_alert_of_the_history_closes_none_of_which_nothing_is_known(shop: Shop) -> None:
    shop.look(stock(0, False))
    shop.look(stock(100, True))
    shop.views[STOCK.history or ""] = [low(10, 50)]  # it has not come to the second one yet
    assert shop.look(stock(110, None)) == []
    shop.views[STOCK.history or ""] = [low(10, 50), low(90, 105)]
    assert shop.look(stock(110, None)) == [
        *[("opened", id_of(10)), ("closed", id_of(10)), ("closed", id_of(100))],
    ]


def test_late_data_opens_an_alert_of_the_past_and_takes_none_back(shop: Shop) -> None:
    shop.look(stock(0, False))
    shop.look(stock(10, True))
    shop.look(stock(20, False))
    shop.views[STOCK.history or ""] = [low(3, 5), low(9, 14), low(16, 19)]
    late = [(what, id_of(second)) for second in (3, 16) for what in ("opened", "closed")]
    assert shop.look(stock(30, False)) == late
    shop.views[STOCK.history or ""] = []
    assert shop.look(stock(31, False)) == []


def test_the_history_is_asked_for_a_week_before_its_end_and_what_is_older_is_forgotten(
    shop: Shop,
) -> None:
    day = 86_400
    shop.look(stock(0, True))
    shop.look(stock(10, False))
    shop.views[STOCK.history or ""] = [low(0, 10), low(29 * day, None, product=9)]
    shop.look(stock(30 * day, False))
    shop.look(stock(30 * day + 1, False))
    assert shop.asked[-1].endswith(f"where coalesce(closed_at > timestamp '{at(22 * day)}', true)")
    assert shop.known_of(STOCK) == []


def test_a_history_that_comes_after_weeks_tells_what_was_missed(shop: Shop) -> None:
    day = 86_400
    shop.views[STOCK.history or ""] = [low(-9, -5)]
    shop.look(stock(0, False))
    shop.restart()
    for number in (8, 9, 12, 15.1, 16):
        assert shop.look(stock(number * day, False)) == []
    shop.views[STOCK.history or ""] = [low(3 * day, 4 * day), low(16 * day, 16 * day + 1)]
    assert shop.look(stock(17 * day, False)) == [
        (what, id_of(number * day)) for number in (3, 16) for what in ("opened", "closed")
    ]


def test_the_history_is_asked_now_and_then(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(alerts, "_HISTORY_SECONDS", 30)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for now in (1000.0, 1029.0, 1030.0):  # noqa: B007 - the clock reads it
        shop.look(stock(0, False))
    assert ["inventory_alerts" in sql for sql in shop.asked] == [0, 1, 0, 0, 1]


def test_what_is_not_there_yet_is_awaited(shop: Shop) -> None:
    for kind in KINDS:
        shop.follower.look(kind)
    assert shop.look(stock(0, True)) == [("opened", id_of(0))]


def said_of(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, attribute: str, rounds: Iterable[object]
) -> list[str]:
    """What a follower says that is killed after some rounds, each with its own of the shop."""
    said: list[str] = []
    waiting = iter(rounds)

    def next_round(_: float) -> None:
        try:
            setattr(shop, attribute, next(waiting))
        except StopIteration:
            raise KilledError from None

    monkeypatch.setattr(time, "sleep", next_round)
    next_round(0)
    with pytest.raises(KilledError):
        alerts.follow(shop.follower, said.append)
    return said


def test_what_is_awaited_is_said_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    views = [{}, {SERVER.view: [server(0, False)]}, {}]
    assert said_of(shop, monkeypatch, "views", [{}, *views]) == [
        f"{view} is not built yet: it is followed as soon as it is."
        for view in (STOCK.view, SERVER.view)
    ]


def test_a_history_that_fails_takes_nothing_from_the_view(shop: Shop) -> None:
    shop.failing = {"gold.inventory_alerts"}
    with pytest.raises(PySparkException):
        shop.look(stock(0, True))
    assert [event.record["id"] for event in shop.told] == [id_of(0)]
    shop.failing = set()
    assert shop.look(stock(1, True)) == []


def test_what_fails_is_said_once_and_holds_up_no_other_kind(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.views = {STOCK.view: [stock(0, True)], SERVER.view: [server(0, False)]}
    failing = [{STOCK.view}, {STOCK.view, SERVER.view}, set(), set(), {SERVER.view}]
    assert said_of(shop, monkeypatch, "failing", failing) == [
        "Low stock is not known for now: gold.stock_status fails",
        "Overloaded server is not known for now: gold.server_status fails",
        *["Low stock is known again.", "Overloaded server is known again."],
        "Overloaded server is not known for now: gold.server_status fails",
    ]
    assert sum(SERVER.view in sql for sql in shop.asked) == 5
    assert len(shop.told) == 1


def test_the_first_question_already_is_not_repeated_for_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[Any] = []
    session = SimpleNamespace(client=SimpleNamespace(set_retry_policies=done.append))
    monkeypatch.setattr(bronze, "_session", lambda _: session)
    monkeypatch.setattr(bronze, "_is_open", lambda _: done.append("asked") or True)
    bronze.connect("sc://127.0.0.1:1", "one", max_retries=3)
    bronze.connect("sc://127.0.0.1:1", "one")
    [[policy], *rest] = done
    assert policy.max_retries == 3
    assert rest == ["asked", "asked"]


def test_an_engine_that_is_down_is_not_started(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match="The engine is not up"):
        reading.asking_what_is_up(Settings(home=tmp_path))("select 1")


@pytest.mark.parametrize("text", ["", "{", '{"kinds": 1}'])
def test_a_state_that_is_damaged_is_a_line_with_its_cure(tmp_path: Path, text: str) -> None:
    file = Home(tmp_path).alerts / "told.json"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(LakehouseError, match=r"told.json is damaged: .* Remove it to begin anew"):
        Shop(Home(tmp_path))


@pytest.mark.parametrize("kill", ["before", "after"])
def test_what_a_killed_one_was_going_to_tell_is_told_by_the_next(shop: Shop, kill: str) -> None:
    shop.kills = ["", kill]
    with pytest.raises(KilledError):
        shop.look(*[stock(0, True, product) for product in (1, 2, 3)])
    before = [event.record for event in shop.told]
    assert len(before) == (1 if kill == "before" else 2)
    shop.views = {}
    shop.told = []
    shop.restart()
    assert [event.record["id"] for event in shop.told] == [id_of(0, number) for number in (1, 2, 3)]
    assert [event.record for event in shop.told][: len(before)] == before


def test_what_is_left_to_tell_waits_for_no_answer(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.kills = ["before"]
    with pytest.raises(KilledError):
        shop.look(stock(0, True))
    shop.failing = {kind.view for kind in KINDS}
    shop.kills = ["", "after"]
    monkeypatch.setattr(time, "sleep", lambda _: shop.tell(shop.told[0]))
    with pytest.raises(KilledError):
        alerts.follow(Follower(shop.home, shop.ask, shop.tell), print)
    assert shop.told[0].record["id"] == id_of(0)


# --- the command


@pytest.fixture
def shown(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """The command sees its views."""
    monkeypatch.setenv("LAKEHOUSE_HOME", str(shop.home.root))
    monkeypatch.setattr(cli, "_session", lambda _: None)
    monkeypatch.setattr(reading, "asking", lambda _: shop.ask)
    yield shop
    cli.output.as_json = False


def test_what_needs_somebody_now_is_a_table(
    shown: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    oversold = stock(0, True, 2) | {"on_hand": -17, "days_of_cover": -6.8}
    shown.views = {STOCK.view: [oversold, stock(0, True, 1)], SERVER.view: []}
    cli.app(["alerts"], standalone_mode=False)
    table = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert table == [
        ["product_id", "warehouse", "on_hand", "reorder_point", "days_of_cover", "as_of"],
        ["1", "north", "3", "5", "1.25", iso(0)],
        ["2", "north", "-17", "5", "0.0", iso(0)],
        [],
    ]
    assert [sql.partition(" where ")[2] for sql in shown.asked] == ["is_low", "is_overloaded"]


def test_what_needs_somebody_now_is_an_object_a_line(
    shown: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shown.views = {SERVER.view: [server(0, True)], STOCK.view: [stock(None, True)]}
    cli.app(["--json", "alerts"], standalone_mode=False)
    keys = {"product_id": 12, "warehouse": "north"}
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"kind": "low_stock", **keys, **LOW, "as_of": None},
        {"kind": "overloaded_server", "server_id": 3, **BUSY, "as_of": iso(0)},
    ]


def test_nothing_needs_anybody(shown: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shown.views = {SERVER.view: []}
    cli.app(["alerts"], standalone_mode=False)
    told = "Asking what needs somebody ...\nNothing needs anybody.\n"
    assert capsys.readouterr() == ("", told)


@pytest.mark.usefixtures("shown")
def test_without_any_of_the_views_there_is_no_answer() -> None:
    with pytest.raises(LakehouseError, match=r"neither gold\.\w+ nor gold\.\w+ is there"):
        cli.app(["alerts"], standalone_mode=False)


def test_two_do_not_follow_one_home(shown: Shop) -> None:
    with (
        alerts.only_follower(shown.home),
        pytest.raises(LockedError, match=rf"Process {os.getpid()} follows the alerts of "),
    ):
        cli.app(["alerts", "--follow"], standalone_mode=False)


def test_no_name_makes_two_lines_of_one(
    shown: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(reading, "asking_what_is_up", lambda _: shown.ask)
    monkeypatch.setattr(time, "sleep", interrupted)
    shown.views = {STOCK.view: [stock(0, True, warehouse="a\nCLOSED b")], SERVER.view: []}
    with pytest.raises(SystemExit) as end:
        cli.app(["alerts", "--follow"], standalone_mode=False)
    assert end.value.code == 130
    told = capsys.readouterr()
    assert told.out.startswith(r"OPENED low stock: product 12 in warehouse a\nCLOSED b: 3 left")
    assert told.out.count("\n") == 1
    assert told.err == "Stopped.\n"


def test_without_a_new_load_the_views_are_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    loads = iter([7, 7, 8, None, 8, 8])

    def ask(sql: str) -> list[dict[str, Any]] | None:
        if "audit.loads" in sql:
            load = next(loads, 0)
            if not load:
                raise (PySparkException("down") if load is None else KeyboardInterrupt)
            return [{"load_id": load}]
        asked.append(sql.rpartition(" ")[2])
        return None if sql.endswith("gold.server_status") else []

    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        alerts.follow(Follower(Home(tmp_path), ask, lambda _: None), lambda _: None)
    # What is not there yet is looked for each time, the other as loads close or nobody knows.
    assert asked.count("gold.server_status") == 6
    assert asked.count("gold.stock_status") == 3
    monkeypatch.setattr(alerts, "_HISTORY_SECONDS", 0)
    loads, asked = iter([7, 7, 7]), []
    with pytest.raises(KeyboardInterrupt):
        alerts.follow(Follower(Home(tmp_path), ask, lambda _: None), lambda _: None)
    assert asked.count("gold.stock_status") == 3


def test_what_is_left_to_tell_is_told_while_the_engine_is_down(
    shown: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    def started(_: Settings) -> None:
        raise AssertionError

    shown.kills = ["before"]
    with pytest.raises(KilledError):
        shown.look(stock(0, True))
    monkeypatch.setattr(cli, "_session", started)
    monkeypatch.setattr(time, "sleep", interrupted)
    with pytest.raises(SystemExit):
        cli.app(["alerts", "--follow"], standalone_mode=False)
    told = capsys.readouterr()
    assert told.out.startswith("OPENED low stock: product 12")
    assert "Low stock is not known for now: The engine is not up." in told.err


@dataclass
class Process:
    """`lakehouse --json alerts --follow` in a process of its own, on the views of a file."""

    home: Path

    def show(self, **views: list[dict[str, Any]]) -> None:
        hidden = self.home / ".views.json"
        hidden.write_text(json.dumps({f"gold.{name}": rows for name, rows in views.items()}))
        hidden.rename(self.home / "views.json")

    def begin(self, *, waits: bool = False) -> tuple[Any, TextIO]:
        """The process and what it tells; one that waits does so after its first line."""
        ours, its = os.pipe()
        child = multiprocessing.get_context("fork").Process(
            target=self._follow, args=(ours, its, waits)
        )
        child.start()
        os.close(its)
        return child, os.fdopen(ours)

    def _follow(self, ours: int, its: int, waits: bool) -> None:
        os.close(ours)
        sys.stdout = os.fdopen(its, "w")
        sys.stderr = (self.home / "said").open("w")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ["LAKEHOUSE_HOME"] = str(self.home)
        line = cli.Output.line

        def line_then_wait(output: cli.Output, text: str, record: dict[str, Any]) -> None:
            line(output, text, record)
            signal.pause()

        alerts._PAUSE_SECONDS = 0.05
        alerts._HISTORY_SECONDS = 0
        reading.asking_what_is_up = lambda _: self._ask
        cli.Output.line = line_then_wait if waits else line  # type: ignore[method-assign]
        sys.argv = ["lakehouse", "--json", "alerts", "--follow"]
        cli.main()

    def _ask(self, sql: str) -> list[dict[str, Any]] | None:
        views = json.loads((self.home / "views.json").read_text())
        return views.get(sql.partition(" from ")[2].split()[0])


def next_told(lines: TextIO) -> tuple[str, str]:
    record = json.loads(lines.readline())
    return record["event"], record["id"]


def test_a_process_that_is_killed_between_line_and_state_loses_nothing(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.show(stock_status=[stock(0, True), stock(0, False, 1)])
    child, lines = process.begin(waits=True)
    with lines:
        assert next_told(lines) == ("opened", id_of(0))
        child.kill()
        child.join()
    process.show(
        stock_status=[stock(100, False), stock(100, False, 1)],
        inventory_alerts=[low(0, 50), low(10, 20, 1)],
    )
    child, lines = process.begin()
    with lines:
        assert [next_told(lines) for _ in range(4)] == [
            *[("opened", id_of(0)), ("closed", id_of(0))],
            *[("opened", id_of(10, 1)), ("closed", id_of(10, 1))],
        ]
        os.kill(child.pid, signal.SIGINT)
        child.join()
        assert lines.read() == ""
    assert child.exitcode == 130
    assert (tmp_path / "said").read_text() == "Stopped.\n"


def test_a_line_that_nobody_reads_is_told_by_the_next(tmp_path: Path) -> None:
    process = Process(tmp_path)
    process.show(stock_status=[stock(0, False)])
    child, lines = process.begin()
    lines.close()
    process.show(stock_status=[stock(0, True)])
    child.join()
    assert child.exitcode == 1
    assert (tmp_path / "said").read_text() == (
        "Error: Nobody reads the alerts any more. What was not told is the first that the next "
        "lakehouse alerts --follow tells.\n"
    )
    assert [event.record["id"] for event in Shop(Home(tmp_path)).told] == [id_of(0)]


# --- any order of things


@dataclass
class Truth:
    """Alerts as they are, by pair; times in seconds."""

    now: int = 0
    as_of: int = 0
    lows: dict[int, list[list[int | None]]] = field(default_factory=lambda: {1: [], 2: []})
    unknown: set[int] = field(default_factory=set)
    is_leveled: bool = False

    def is_low(self, product: int) -> bool:
        return bool(self.lows[product]) and self.lows[product][-1][1] is None

    def turn(self, product: int) -> None:
        if self.is_low(product):
            self.lows[product][-1][1] = self.now
        else:
            self.lows[product].append([self.now, None])

    def view(self) -> list[dict[str, Any]]:
        return [
            stock(self.as_of, None if product in self.unknown else self.is_low(product), product)
            for product in self.lows
        ]

    def history(self) -> list[dict[str, Any]]:
        return [
            low(opened or 0, closed, product)
            for product, lows in self.lows.items()
            for opened, closed in lows
        ]


def kill_and_restart(shop: Shop, step: Any) -> None:
    """A step that may be killed; then the next process, which may be killed, too."""
    try:
        step()
    except KilledError:
        while True:
            with suppress(KilledError):
                shop.restart()
                break


STEPS = st.lists(
    st.sampled_from(
        ["turn 1", "turn 2", "click", "unknown 1", "look", "look", "look", "publish", "restart"]
    ),
    max_size=40,
)
KILLS = st.lists(st.sampled_from(["", "", "before", "after"]), max_size=8)


def play(steps: list[str], kills: list[str], pace: int) -> None:
    """Plays steps so many seconds apart and compares what is told with what has been."""
    truth = Truth()
    with TemporaryDirectory() as folder:
        shop = Shop(Home(Path(folder)), kills=list(kills))
        first_look = None
        seen_at_first: set[int] = set()
        for step in [*steps, "known", "publish", "look", "restart", "look"]:
            truth.now += pace
            what, _, product = step.partition(" ")
            if what in ("turn", "level"):
                truth.turn(int(product))
            truth.is_leveled |= what == "level"
            if what in ("turn", "click"):
                truth.as_of = truth.now
            if what == "unknown":
                truth.unknown ^= {int(product)}
            elif what == "known":
                truth.unknown = set()
            elif what == "restart":
                kill_and_restart(shop, shop.restart)
            elif what == "look":
                shop.views[STOCK.view] = truth.view()
                kill_and_restart(shop, lambda: shop.follower.look(STOCK))
                if first_look is None:
                    first_look = truth.as_of
                    known = truth.lows.keys() - truth.unknown
                    seen_at_first = {product for product in known if truth.is_low(product)}
            elif what == "publish":
                shop.views[STOCK.history or ""] = truth.history()
        check(truth, shop.told, first_look or 0, seen_at_first)


def told_by_id(told: list[Event]) -> dict[str, list[dict[str, Any]]]:
    by_id: dict[str, list[dict[str, Any]]] = {}
    for event in told:
        by_id.setdefault(event.record["id"], []).append(event.record)
    for records in by_id.values():
        events = [*dict.fromkeys(record["event"] for record in records)]
        assert events in (["opened"], ["opened", "closed"])
        # What is told again is the very same line.
        assert len({json.dumps(record) for record in records}) == len(events)
    return by_id


def check(truth: Truth, told: list[Event], first_look: int, seen_at_first: set[int]) -> None:
    by_id = told_by_id(told)
    # What was open at the first look, but unknown, may be told: once it is known.
    may = {
        (product, number)
        for product, lows in truth.lows.items()
        for number, (_, closed) in enumerate(lows)
        if closed is None or closed > first_look
    }
    must = {
        (product, number)
        for product, number in may
        if product in seen_at_first or (truth.lows[product][number][0] or 0) > first_look
    }
    for product in truth.lows:
        of_product = [r for r in by_id.values() if r[0]["product_id"] == product]
        numbers = [sum(of == product for of, _ in alerts) for alerts in (must, may)]
        assert numbers[0] <= len(of_product) <= numbers[1]
        is_open = [records[-1]["event"] == "opened" for records in of_product]
        assert sum(is_open) == truth.is_low(product)
    if truth.is_leveled:  # which one it is, is known of the others alone
        return
    found = []
    for records in by_id.values():
        since = datetime.fromisoformat(records[0]["since"])
        second = int((since - START).total_seconds())
        product = records[0]["product_id"]
        [same] = [
            number
            for number, (opened, closed) in enumerate(truth.lows[product])
            if (opened or 0) <= second and (closed is None or second < closed)
        ]
        is_closed = records[-1]["event"] == "closed"
        assert is_closed == (truth.lows[product][same][1] is not None)
        found.append((product, same))
    assert len(found) == len({*found})
    assert must <= {*found} <= may


@given(
    st.lists(
        st.sampled_from(
            ["turn 1", "level 1", "level 1", "level 2", "click", "look", "look", "publish"]
        ),
        max_size=40,
    ),
    KILLS,
)
@settings(max_examples=100)
def test_a_quiet_shop(steps: list[str], kills: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts, "_HISTORY_SECONDS", 0)
        play(steps, kills, pace=60)


@given(STEPS, KILLS)
def test_each_alert_is_told_under_one_id_whatever_is_killed(
    steps: list[str], kills: list[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts, "_HISTORY_SECONDS", 0)
        play(steps, kills, pace=60)


@given(STEPS, KILLS)
@example(  # unknown to the view for weeks
    ["look", *["turn 1"] * 3, "unknown 1", "look", *["turn 2"] * 2, "look", "turn 1"], []
)
def test_so_it_is_over_months(steps: list[str], kills: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(alerts, "_HISTORY_SECONDS", 0)
        play(steps, kills, pace=2 * 86_400)


LOOKS = st.lists(
    st.tuples(st.integers(0, 45), st.sampled_from([True, True, False, None, "gone", "restart"])),
    max_size=40,
)


@given(LOOKS, KILLS)
def test_overloads_are_told_as_runs_of_a_minute(
    looks: list[tuple[int, Any]], kills: list[str]
) -> None:
    now = 0
    known: list[tuple[int, bool]] = []
    with TemporaryDirectory() as folder:
        shop = Shop(Home(Path(folder)), kills=list(kills))
        for seconds, seen in looks:
            now += seconds
            if seen == "restart":
                kill_and_restart(shop, shop.restart)
                continue
            rows = [server(now, False, 4)]
            if seen != "gone":
                rows.append(server(now, seen))
            if seen is not None:
                known.append((now, seen is True))
            kill_and_restart(shop, lambda rows=rows: shop.look(*rows))
        kill_and_restart(shop, shop.restart)
    records = [event.record for event in shop.told]
    told = [(record["event"], record["id"], record["as_of"]) for record in records]
    assert [*dict.fromkeys(told)] == [*expected_of_runs(known)]


def expected_of_runs(known: list[tuple[int, bool]]) -> Iterator[tuple[str, str, str]]:
    """A run of equal looks that lasts a minute is told, unless it is as the last told one."""
    opened = None
    for is_so, run in groupby(known, lambda look: look[1]):
        seconds = [second for second, _ in run]
        lasting = [second for second in seconds if second - seconds[0] >= 60]
        if lasting and is_so != (opened is not None):
            opened = seconds[0] if is_so else opened
            what = "opened" if is_so else "closed"
            yield what, f"overloaded_server/3/{iso(opened or 0)}", iso(lasting[0])
            opened = opened if is_so else None
