"""The report without a browser: its sentences, its CSV files, and how it is written."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lakehouse.reading import Ask, Row
from lakehouse.report import health, network, now, render, retail, site, wearables, words
from lakehouse.report.data import refused
from lakehouse.report.live import Now, answer_of
from lakehouse.report.parts import Block, Column, Page
from tests.support.marts import Marts, declared


def server(number: int, use: float | None, reason: str, goal: float | None = None) -> Row:
    return {
        "server": f"server {number}", "location": "Bonn", "usage_rate_p95": use,
        "reason": reason, "recommended_capacity_mbps": goal,
        "is_urgent": reason.startswith("overloaded"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [server(3, 0.954, "overloaded", 2500)],
            "1 of 1 server needs an upgrade: server 3 in Bonn (95% in use, raise it to 2,500 "
            "Mbit/s).",
        ),
        (
            [server(7, 1.2, "overloaded beyond the largest step"), server(1, 0.2, "fine")],
            "1 of 2 servers needs an upgrade: server 7 in Bonn (120% in use, beyond the largest "
            "step).",
        ),
        (
            [server(n, 0.9, "overloaded", 500) for n in range(1, 6)] + [server(9, 0.1, "fine")] * 7,
            "5 of 12 servers need an upgrade: server 1 in Bonn (90% in use, raise it to 500 "
            "Mbit/s), server 2 in Bonn (90% in use, raise it to 500 Mbit/s), server 3 in Bonn (90% "
            "in use, raise it to 500 Mbit/s) and 2 more.",
        ),
        (
            [server(4, 0.61, "fine"), server(5, 0.3, "fine")],
            "No server needs an upgrade; the busiest, server 4, uses 61% of its capacity.",
        ),
        (
            [
                server(4, 0.9, "the capacity has been raised"),
                server(5, None, "the capacity is unknown"),
            ],
            "No server needs an upgrade; the busiest, server 4, uses 90% of its capacity.",
        ),
        (
            [server(5, None, "the capacity is unknown")],
            "No server's use of its capacity is known: the capacity is unknown.",
        ),
        ([server(5, None, "no traffic")], "No server needs an upgrade: none has any traffic."),
        (
            [server(5, None, "no traffic"), server(6, None, "the capacity is unknown")],
            "No server needs an upgrade: of those that can be judged, none has any traffic.",
        ),
    ],
)  # fmt: skip
def test_servers_to_upgrade(rows: list[Row], sentence: str) -> None:
    assert network.upgrade_sentence(rows) == sentence


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([server(4, 0.61, "fine"), server(5, None, "no traffic")], []),
        ([server(5, None, "the capacity is unknown")], []),  # the answer says so
        (
            [
                server(4, 0.9, "the capacity has been raised"),
                server(5, None, "the capacity is unknown"),
            ],
            ["Server 4 has been raised already. Of 1 server the use is not known."],
        ),
        (
            [server(n, 0.9, "the capacity has been raised") for n in range(1, 6)],
            ["Server 1, server 2, server 3 and 2 more have been raised already."],
        ),
    ],
)
def test_what_else_is_known_of_the_servers(rows: list[Row], said: list[str]) -> None:
    assert network.upgrade_notes(rows) == said


def heavy(number: int, share: float | None, others: float | None, *, is_heavy: bool = True) -> Row:
    return {
        "customer": f"customer {number}", "server": "server 1", "share_of_server": share,
        "others_share_of_time_short": others, "is_urgent": is_heavy,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [heavy(1, 0.1, 0.2, is_heavy=False)],
            "In the last 7 days nobody took far more than a share of a server.",
        ),
        (
            [heavy(8, 0.4, 0.125)],
            "1 customer takes far more than a share, above all customer 8: 40% of all bytes of "
            "server 1, where the others were short 12% of their time.",
        ),
        (
            [heavy(8, 0.4, None)],
            "1 customer takes far more than a share, above all customer 8: 40% of all bytes of "
            "server 1.",
        ),
        (
            [heavy(7, 1.0, None), heavy(8, 0.4, 0.125)],
            "2 customers take far more than a share, above all customer 8: 40% of all bytes of "
            "server 1, where the others were short 12% of their time.",
        ),
        (
            [heavy(8, 0.4, 0.0), heavy(9, 0.3, 0.0), heavy(9, None, 0.0)],
            "2 customers take far more than a share, above all customer 8: 40% of all bytes of "
            "server 1; the others there had what they asked for.",
        ),
        (
            [heavy(8, 0.4, 0.0), heavy(9, 0.3, 0.5), heavy(9, None, 0.1)],
            "2 customers take far more than a share, above all customer 9: 30% of all bytes of "
            "server 1, where the others were short 50% of their time.",
        ),
    ],
)
def test_who_takes_too_much(rows: list[Row], sentence: str) -> None:
    assert network.heavy_sentence(rows) == sentence


def test_who_is_alone_on_a_server_takes_nothing_from_anybody() -> None:
    marts = Marts()
    marts.make("gold.server_upgrade_candidates", {"server_id": 1, "reason": "no traffic"})
    marts.make("gold.server_load")
    day = {"server_id": 1, "is_heavy": True, "gigabytes": 2.0, "suggested_limit_mbps": 3.0}
    alone = {"share_of_server": 1.0, "times_median": 1.0, "date": "2026-03-02"}
    shared = {"share_of_server": 0.5, "times_median": 6.0, "date": "2026-03-03", "server_id": 2}
    marts.make("gold.heavy_users", day | alone | {"customer_id": 7})

    def told() -> tuple[str, list[tuple[Any, ...]]]:
        [block] = [block for block in network.page(marts.ask).blocks if block.key == "heavy"]
        names = ("who", "days_heavy", "days_alone", "suggested_limit_mbps", "is_urgent")
        return block.sentence, [tuple(row[name] for name in names) for row in block.rows]

    assert told() == (
        "In the last 7 days nobody took far more than a share of a server.",
        [("7 on server 1, alone", 0, 1, None, False)],
    )
    marts.make("gold.heavy_users", day | alone | shared | {"customer_id": 8})
    marts.make("gold.heavy_users", day | alone | {"customer_id": 8, "server_id": 2})
    assert told()[1] == [
        ("8 on server 2", 1, 1, 3.0, True),
        ("7 on server 1, alone", 0, 1, None, False),
    ]


def customer(number: int, share: float | None, short: int, fine: int) -> Row:
    return {
        "customer": f"customer {number}", "share_of_time_short": share, "days_short": short,
        "days_fine": fine, "is_urgent": short > 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (
            [customer(1, None, 0, 0)],
            "In the last 7 days nobody asked for anything on a plan that is known.",
        ),
        ([customer(1, 0.0, 0, 3)], "Customer 1 gets what was sold."),
        ([customer(1, 0, 0, 3), customer(2, 0, 0, 1)], "All 2 customers get what was sold."),
        (
            [customer(1, 0.31, 2, 1), customer(2, 0, 0, 1)],
            "1 of 2 customers does not get what was sold, least of all customer 1: short 31% of "
            "the time.",
        ),
        (
            [customer(n, 0.5, 1, 0) for n in range(1, 4)],
            "3 of 3 customers do not get what was sold, least of all customer 1: short 50% of the "
            "time.",
        ),
    ],
)  # fmt: skip
def test_who_gets_too_little(rows: list[Row], sentence: str) -> None:
    assert network.short_sentence(rows) == sentence


def test_growth() -> None:
    def week(number: int, use: float | None, change: float | None) -> Row:
        return {
            "server": f"server {number}", "period": "2026-03-02", "usage_rate_p95": use,
            "usage_rate_p95_change": change, "is_last": True,
        }  # fmt: skip

    assert (
        network.weekly_sentence([week(1, 0.5, None)])
        == "The week from 2 Mar 2026 is these servers' first: it tells of no growth yet."
    )
    start = "In the week from 2 Mar 2026, as far as it has come, "
    assert (
        network.weekly_sentence([week(1, 0.5, -0.1), week(2, 0.4, 0.0)])
        == f"{start}none of 2 servers is fuller than before."
    )
    assert network.weekly_sentence(
        [week(1, 0.5, 0.021), week(2, 0.4, 0.1), week(3, None, None)]
    ) == (
        f"{start}2 of 2 servers are fuller than the week before, most of all server 2: by 10.0 "
        "points to 40%."
    )


def gym(number: int, inside: float | None, exercising: float | None, visits: int = 2) -> Row:
    return {
        "gym": f"gym {number}", "minutes_in_gym": inside, "minutes_exercising": exercising,
        "visits": visits, "first_date": "2026-03-01", "last_date": "2026-03-02",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "members", "sentence"),
    [
        (
            [gym(1, None, None)],
            1,
            "From 1 to 2 Mar 2026, 2 visits to gym 1 began, and none of them has ended yet.",
        ),
        (
            [gym(1, 60.0, 45.0)],
            1,
            "From 1 to 2 Mar 2026, 1 member spent 60 minutes in gym 1, exercising for 75% of them.",
        ),
        (
            [gym(2, 900.0, 90.0), gym(1, 300.0, 30.0), gym(3, None, None)],
            12,
            "From 1 to 2 Mar 2026, 12 members spent 1,200 minutes in 3 gyms, exercising "
            "for 10% of them; most of it in gym 2 (75%).",
        ),
        (
            [gym(1, 60.0, 0.0)],
            0,
            "From 1 to 2 Mar 2026, people who are not registered spent 60 minutes in gym "
            "1, exercising for 0% of them.",
        ),
    ],
)
def test_how_long_in_which_gym(rows: list[Row], members: int, sentence: str) -> None:
    assert wearables.gyms_sentence(rows, members) == sentence


def test_how_hard_they_trained() -> None:
    def all_(workouts: int) -> Row:
        return {"workouts": workouts, "first_date": "2026-03-02", "last_date": "2026-03-02"}

    top = {"user_id": 5, "age": "25-35", "city": "Bonn", "avg_bpm": 151.4, "max_bpm": 187.6}
    assert (
        wearables.workouts_sentence(all_(1), [])
        == "On 2 Mar 2026, 1 workout ended, without any heart rate."
    )
    assert wearables.workouts_sentence(all_(34), [top]) == (
        "On 2 Mar 2026, 34 workouts ended; the hardest was that of member 5 (25-35, Bonn) with 151 "
        "bpm on average and 188 at most."
    )
    for age in (None, "unknown"):
        assert "member 5 with 151" in wearables.workouts_sentence(
            all_(2), [top | {"age": age, "city": None}]
        )


def stock(number: int, on_hand: int, days: float | None) -> Row:
    return {
        "product": f"product {number}", "warehouse": "north", "on_hand": on_hand,
        "days_of_cover": days,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "stocks", "sentence"),
    [
        (
            [],
            0,
            "What runs out is not known: no stock has both a movement and a reorder point.",
        ),
        ([], 1, "Nothing runs out: none of 1 stock with a reorder point is low."),
        ([], 84, "Nothing runs out: none of 84 stocks with a reorder point is low."),
        (
            [stock(1, -17, 0.0)],
            2,
            "1 of 2 stocks with a reorder point is low: product 1 in north (oversold by 17).",
        ),
        (
            [stock(1, 3, 1.25)],
            1,
            "1 of 1 stock with a reorder point is low: product 1 in north (3 left, lasts 1.2 "
            "days).",
        ),
        (
            [stock(n, 0, None) for n in range(1, 6)],
            9,
            "5 of 9 stocks with a reorder point are low: product 1 in north (none left), product "
            "2 in north (none left), product 3 in north (none left) and 2 more.",
        ),
    ],
)
def test_what_runs_out(rows: list[Row], stocks: int, sentence: str) -> None:
    assert retail.low_sentence(rows, stocks) == sentence


def test_what_sells() -> None:
    def product(number: int, net: float, before: float) -> Row:
        return {
            "product": f"product {number}", "category": "books", "net_sales": net,
            "net_before": before, "last_date": "2026-03-28",
        }  # fmt: skip

    start = "In the 28 days up to 28 Mar 2026, sales came to "
    assert retail.products_sentence([product(1, -3.5, 0)], is_whole=False) == f"{start}-3.50 net."
    assert retail.products_sentence([product(1, 75, 0), product(2, 25, 125)], is_whole=True) == (
        f"{start}100.00 net, 20% less than in the 28 before; product 1 (books) sells best: 75.00."
    )
    assert retail.products_sentence([product(1, 75, 10)], is_whole=False) == (
        f"{start}75.00 net; product 1 (books) sells best: 75.00."
    )


def test_sales_of_regions() -> None:
    def region(name: str, net: float) -> Row:
        return {
            "region": name, "first_date": "2026-03-02", "last_date": "2026-03-02",
            "net_sales": net, "gross_sales": net + 10, "refunds": 10,
        }  # fmt: skip

    assert retail.sales_sentence([region("north", 90)]) == (
        "On 2 Mar 2026, sales came to 90.00 net, after 10% was given back."
    )
    rows = [region("north", 30), region("south", 20), region("other regions", 50)]
    assert retail.sales_sentence(rows).endswith("; most in north (30%).")


def test_sales_that_are_summed_up_by_week_are_of_their_days() -> None:
    marts = Marts()
    # 2025-01-01 is a Wednesday; the 200th day after it is Sunday, 20 July.
    marts.fill(
        "gold.sales_by_region_product",
        "select cast(date '2025-01-01' + cast(day as integer) as date) as date, "
        "'north' as region, 1 as product_id, 'books' as category, 1 as orders, 1 as units, "
        "2 as gross_sales, 0 as refunds, 2 as net_sales, 0 as lines_without_price "
        "from range(201) as days(day)",
    )
    [sales] = [block for block in retail.page(marts.ask).blocks if block.key == "sales"]
    assert sales.sentence == "From 1 Jan to 20 Jul 2025, sales came to 402.00 net."
    assert [sales.rows[0]["period"], sales.rows[-1]["period"]] == ["2024-12-30", "2025-07-14"]


@pytest.mark.parametrize(
    ("rates", "sentence"),
    [
        ([None], "No server's use of its capacity is known; 2 devices connected."),
        (
            [0.42, None],
            "No server is overloaded; the fullest, server 0, uses 42% of its capacity; 4 devices "
            "connected.",
        ),
        ([0.9], "1 of 1 server is overloaded: server 0 (90%); 2 devices connected."),
        (
            [1.1, 0.9, 0.3],
            "2 of 3 servers are overloaded: server 0 (110%) and server 1 (90%); 6 devices "
            "connected.",
        ),
    ],
)
def test_servers_of_now(rates: list[float | None], sentence: str) -> None:
    rows = [
        {"server": f"server {n}", "usage_rate": rate, "devices_connected": 2,
         "is_urgent": rate is not None and rate >= 0.8}
        for n, rate in enumerate(rates)
    ]  # fmt: skip
    assert now.servers_sentence(rows) == sentence


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0, "0%"), (0.0004, "under 1%"), (0.5, "50%"), (0.998, "over 99%"), (1.0, "100%")],
)
def test_what_is_something_is_not_said_to_be_nothing(value: float, said: str) -> None:
    assert words.share(value) == said


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2026-03-02", "2026-03-02", "on 2 Mar 2026"),
        ("2026-03-02", "2026-03-31", "from 2 to 31 Mar 2026"),
        ("2026-02-28", "2026-03-02", "from 28 Feb to 2 Mar 2026"),
        ("2025-03-02", "2026-03-02", "from 2 Mar 2025 to 2 Mar 2026"),
    ],
)
def test_days_are_said_without_saying_a_month_twice(first: str, last: str, said: str) -> None:
    assert words.days(first, last) == said


def test_what_was_refused() -> None:
    marts = Marts()
    assert refused(marts.ask, "sbit") == ("Nothing was refused, and nothing waits.", None)
    marts.make(
        "audit.rejects",
        {"source": "sbit.gym_logins", "entity": "visits", "level": "row", "reason": "no gym"},
        {"source": "sbit.gym_logins", "entity": "visits", "level": "row", "reason": "no gym"},
        {"source": "sbit.gym_logins", "entity": "visits", "level": "row", "reason": "late"},
        {"source": "sbit.gym_logins", "entity": "visits", "level": "field", "reason": "no zip"},
        {"source": "telecom.servers", "entity": "servers", "level": "row", "reason": "another's"},
    )
    marts.make(
        "audit.unmatched",
        {"source": "sbit.kafka_multiplex", "entity": "readings", "reason": "no device",
         "key": "1", "num_events": 1200},
    )  # fmt: skip
    sentence, block = refused(marts.ask, "sbit")
    assert sentence == (
        "3 rows were refused, 2 of them: no gym; 1 field could not be read: no zip; "
        "1,200 events wait for what they refer to: no device."
    )
    assert block
    assert [row["num_rows"] for row in block.rows] == [1200, 2, 1, 1]


def test_the_table_of_what_was_refused_begins_with_the_reason_that_is_said() -> None:
    marts = Marts()
    marts.make("audit.loads", {"source": "retail.orders", "status": "finished", "load_id": 1,
                               "recorded_at": "2026-03-02 10:00:00+00"})  # fmt: skip
    for source, reason, many in (
        ("retail.orders", "too early", 4),
        ("retail.clicks", "no JSON", 5),
        ("retail.products", "too early", 3),
    ):
        row = {"source": source, "entity": "rows", "level": "row", "reason": reason}
        marts.make("audit.rejects", *[row] * many)
    sentence, block = refused(marts.ask, "retail")
    assert sentence == "12 rows were refused, 7 of them: too early."
    [of_health] = [one for one in health.page(marts.ask).blocks if one.key == "refused"]
    for one in (block, of_health):
        assert one
        assert [(row["reason"], row["num_rows"]) for row in one.rows] == [
            *(("too early", 4), ("too early", 3), ("no JSON", 5)),
        ]


def nothing(_: str) -> list[Row] | None:
    return None


@pytest.mark.parametrize("ask", [nothing, lambda _: []])
@pytest.mark.parametrize("module", [wearables, network, retail, now])
def test_a_domain_without_data_says_how_to_get_some(module: Any, ask: Ask) -> None:
    page = module.page(ask)
    assert page.answer[0].startswith("There is no data of ")
    assert page.hint[0].startswith("lakehouse generate ")
    assert not page.blocks


def test_loads_that_are_not_built_yet_are_no_lack_of_data() -> None:
    marts = Marts()
    for load in (1, 2):
        marts.make("audit.loads", {"load_id": load, "status": "closed"})
    page = now.page(marts.ask)
    assert page.answer == ("2 loads are in; the first build is not finished yet.",)
    assert not page.hint
    marts.make("gold.server_status")
    assert now.page(marts.ask).hint


@pytest.mark.parametrize("module", [wearables, network, retail, now])
def test_marts_without_a_row_are_no_data(module: Any) -> None:
    marts = Marts()
    for table in declared():
        marts.make(table)
    page = module.page(marts.ask)
    assert page.answer[0].startswith("There is no data of ")
    assert not page.blocks


@pytest.mark.parametrize(
    ("table", "row", "module", "answer"),
    [
        ("gold.gym_summary", {"gym": 1, "date": "2026-03-02", "visits": 1, "open_visits": 1},
         wearables, "On 2 Mar 2026, 1 visit to gym 1 began, and none of them has ended yet."),
        ("gold.workout_bpm_summary", {"user_id": 1, "date": "2026-03-02", "num_readings": 0,
         "started_at": "2026-03-02 10:00:00+00", "ended_at": "2026-03-02 10:30:00+00"},
         wearables, "On 2 Mar 2026, 1 workout ended, without any heart rate."),
        ("gold.server_upgrade_candidates", {"server_id": 1, "reason": "no traffic"},
         network, "No server needs an upgrade: none has any traffic."),
        ("gold.stock_status", {"product_id": 1, "warehouse": "w", "reorder_point": 5},
         retail,
         "What runs out is not known: no stock has both a movement and a reorder point."),
        ("gold.stock_status", {"product_id": 1, "warehouse": "w", "reorder_point": 5},
         now, "What runs out is not known: no stock has both a movement and a reorder point."),
        ("gold.server_status", {"server_id": 1, "devices_connected": 0},
         now, "No server's use of its capacity is known; no devices connected."),
    ],
)  # fmt: skip
def test_one_row_of_which_little_is_known_is_a_page(
    table: str, row: Row, module: Any, answer: str
) -> None:
    marts = Marts()
    for name in declared():
        marts.make(name)
    marts.make(table, row)
    page = module.page(marts.ask)
    assert page.answer[0] == answer
    html = render.html(page, [])
    assert answer.replace("'", "&#39;") in html


def test_how_days_and_members_are_told() -> None:
    def day(period: str, minutes: float | None) -> Row:
        return {"period": period, "minutes_in_gym": minutes}

    assert wearables.days_sentence([day("2026-03-02", None)], "day") == "No visit has ended yet."
    assert wearables.days_sentence([day("2026-03-02", 60.0)], "day") == (
        "There is one day, 2 Mar 2026, with 60 minutes."
    )
    assert wearables.days_sentence([day("2026-03-02", 60.0), day("2026-03-09", 90.0)], "week") == (
        "Of 2 weeks the busiest was that from 9 Mar 2026, with 90 minutes."
    )
    member = {"member": "not registered", "gym": "gym 1", "minutes_exercising": None}
    assert wearables.members_sentence([member | {"minutes_in_gym": None}]) == (
        "Nobody's visit has ended yet."
    )
    assert wearables.members_sentence([member | {"minutes_in_gym": 60.0}]) == (
        "Somebody who is not registered was longest in a gym: 60 minutes in gym 1, 0 of them "
        "exercising."
    )


def test_how_groups_and_one_workout_are_told() -> None:
    groups = [
        {"age": "25-35", "city": "Bonn", "avg_bpm": 150.6},
        {"age": "65-75", "city": "Ulm", "avg_bpm": 101.2},
    ]
    assert wearables.groups_sentence(groups[:1]) == (
        "All who were measured are 25-35 and from Bonn: 151 bpm."
    )
    assert wearables.groups_sentence(groups) == (
        "Those of 25-35 from Bonn train hardest, with 151 bpm on average; those of 65-75 from Ulm "
        "least, with 101."
    )
    minute = {"session": "member 1", "min_bpm": 60.0, "avg_bpm": 80.0, "max_bpm": 99.0}
    assert wearables.curve_sentence([minute | {"minute": 3}]) == (
        "The latest workout with a heart rate, member 1: from 60 to 99 bpm, the highest in "
        "minute 3."
    )


def test_how_customers_stock_and_conversion_are_told() -> None:
    segment = {"segment": "loyal", "customers": 1, "monetary": 0.0}
    assert retail.segments_sentence([segment]) == "1 customer, and no net sales yet."
    assert (
        retail.segments_sentence(
            [segment | {"monetary": 75.0}, segment | {"customers": 3, "monetary": 25.0}]
        )
        == "75% of all net sales come from 1 customer of the segment loyal, 25% of all."
    )
    assert retail.stock_sentence({"date": "2026-03-02", "received": 1, "issued": 0, "sold": 0}) == (
        "On 2 Mar 2026, the last day with a movement, 1 piece came in and none left."
    )
    assert retail.stock_sentence(
        {"date": "2026-03-02", "received": 0, "issued": 1200, "sold": 7}
    ).endswith("no pieces came in and 1,200 left, 7 of them sold.")
    looked = {"product": "product 1", "views": 30, "conversion_rate": 0.1}
    start = "In the last 28 days "
    assert retail.conversion_sentence([looked | {"conversion_rate": None}]) == (
        f"{start}nobody looked at a product."
    )
    assert retail.conversion_sentence([looked]) == (
        f"{start}10.0% of those who looked bought: there is product 1 alone."
    )
    # 30 views with 10% and 10 with 50%: 3 + 5 of 40.
    other = {"product": "product 2", "views": 10, "conversion_rate": 0.5}
    assert retail.conversion_sentence([looked, other]) == (
        f"{start}20.0% of those who looked bought; of the 2 products most looked at product 2 does "
        "best (50.0%), product 1 worst (10.0%)."
    )
    none = [row | {"conversion_rate": 0.0} for row in (looked, other)]
    assert retail.conversion_sentence(none) == (
        f"{start}0.0% of those who looked bought; the 2 products most looked at do not differ."
    )


def test_the_day_is_told_by_its_busiest_moments() -> None:
    def window(time: str, devices: int, used: float) -> Row:
        return {
            "window_start": f"2026-03-02 {time}:00+00:00",
            "devices": devices,
            "used_mbps": used,
        }

    assert network.day_sentence([window("10:00", 1, 0.0)]) == (
        "On 2 Mar 2026, 10:00 UTC, all servers together had 1 device and 0 Mbit/s in use."
    )
    assert network.day_sentence(
        [window("10:00", 1, 50.5), window("10:05", 7, 20.0), window("10:10", 2, 0.0)]
    ) == (
        "In the 24 hours up to 2 Mar 2026, 10:10 UTC, all servers together had at most 7 devices "
        "(at 10:05) and 50 Mbit/s in use (at 10:00)."
    )


def test_the_start_says_who_needs_somebody() -> None:
    def page(title: str, *, is_urgent: bool, blocks: tuple[Block, ...] = ()) -> Page:
        return Page(title.lower(), title, (), is_urgent, blocks)

    some = (Block("b", "B", "", (), []),)
    assert site.start_sentence([page("Retail", is_urgent=False)]) == "There is no data yet."
    assert (
        site.start_sentence([page("Retail", is_urgent=False, blocks=some)])
        == "Nothing needs anybody now."
    )
    assert site.start_sentence([page("Retail", is_urgent=True)]) == "Retail needs somebody now."
    assert (
        site.start_sentence([page(name, is_urgent=True) for name in ("A", "B", "C", "D")])
        == "A, B, C and D need somebody now."
    )


def test_a_csv_holds_all_rows_and_no_formula(tmp_path: Path) -> None:
    names = ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", 'a"b,c', "x=1", "a; b", None]
    names += ["x;=1", "x; @y;-z", "x\n+1", "x\r\n\uff1d1"]
    rows = [{"name": name, "value": -1.5} for name in names]
    columns = (Column("name", "name"), Column("value", "value", "number"))
    file = tmp_path / "file.csv"
    file.write_text(render.csv_of(Block("b", "B", "", columns, rows)), newline="")
    with file.open(newline="") as lines:
        read = list(csv.reader(lines))
    assert read[0] == ["name", "value"]
    assert [name for name, _ in read[1:]] == [
        *("'=1+1", "'+1", "'-1", "'@x", "'\t=1", "'\r'=1", "' =1", 'a"b,c', "x=1", "a; b", ""),
        *("x;'=1", "x; '@y;'-z", "x\n'+1", "x\r\n'\uff1d1"),
    ]
    assert {value for _, value in read[1:]} == {"-1.5"}  # a number is none


def test_no_row_ends_the_script_it_stands_in() -> None:
    marts = Marts()
    marts.make(
        "gold.server_upgrade_candidates",
        {"server_id": 1, "location": "</script><b>&", "usage_rate_p95": 0.9, "reason": "fine",
         "overloaded_windows": 0, "days_overloaded": 0},
    )  # fmt: skip
    marts.make("gold.server_load")
    html = render.html(network.page(marts.ask), [])
    [content] = re.findall(r'<script type="application/json">(.*?)</script>', html)
    assert not set(content) & set("<>&")
    assert "</script><b>&" in str(json.loads(content)["rows"])


def test_a_failed_report_leaves_the_site_as_it_was(tmp_path: Path) -> None:
    marts = Marts()
    told: list[str] = []
    start = site.write(tmp_path, marts.ask, say=told.append)
    titles = ("Wearables", "Network", "Retail", "Health", "Now")
    assert told == [f"Page: {title} ..." for title in titles]
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    names = ("health", "index", "live", "network", "proof", "retail", "wearables")
    proofs = ("proof-promises.csv", "proof-reports.csv")
    assert sorted(before) == sorted([*(f"{name}.html" for name in names), *proofs])

    def breaks(sql: str) -> list[Row] | None:
        if "audit" in sql or "stock_status" in sql:
            raise RuntimeError("broken")
        return marts.ask(sql)

    marts.make("gold.gym_summary", {"gym": 1, "date": "2026-03-02", "minutes_in_gym": 60})
    with pytest.raises(RuntimeError):
        site.write(tmp_path, breaks)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    site.write(tmp_path, marts.ask)
    assert "60 minutes in gym 1" in start.read_text()


def test_only_what_is_there_is_linked(tmp_path: Path) -> None:
    assert "docs/index.html" not in site.write(tmp_path, nothing).read_text()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.html").touch()
    assert 'href="docs/index.html"' in site.write(tmp_path, nothing).read_text()


def test_a_file_that_is_looked_at_later_says_of_when_it_is(tmp_path: Path) -> None:
    marts = Marts()
    loaded = {"load_id": 1, "source": "retail.orders", "status": "finished"}
    marts.make("audit.loads", loaded | {"recorded_at": "2026-03-02 10:00:00+00"})
    page = health.page(marts.ask, now=datetime(2026, 3, 2, 10, 5, tzinfo=UTC))
    assert "fresh: the last load was 2 Mar 2026, 10:00 UTC." in page.answer[1]
    assert page.freshness == "As of 2 Mar 2026, 10:05 UTC."
    start = site.write(tmp_path, marts.ask).read_text()
    assert re.search(r"Written \d+ \w+ \d{4}, \d\d:\d\d UTC\.", start)


def test_the_start_shows_first_what_needs_somebody(tmp_path: Path) -> None:
    marts = Marts()
    marts.make("gold.stock_status", {"product_id": 1, "warehouse": "w", "reorder_point": 5})
    opened = {"product_id": 1, "warehouse": "w", "opened_at": "2026-03-02 09:00:00+00"}
    marts.make("gold.inventory_alerts", opened | {"on_hand": 0})
    start = site.write(tmp_path, marts.ask).read_text()
    cards = re.findall(r'<h2 id="\w+"><a href="(\w+)\.html"', start)
    assert cards == ["retail", "wearables", "network", "health"]


def test_a_screen_links_what_is_written(tmp_path: Path) -> None:
    assert site.links_there(tmp_path) == [("live.html", "Now")]
    site.write(tmp_path, nothing)
    assert site.links_there(tmp_path) == site.links_of(tmp_path)


def test_a_large_mart_is_summed_up_and_says_what_is_left_out() -> None:
    marts = Marts()
    # 400 gyms on 400 days, each with a member of its own a day: 160,000 rows.
    marts.fill(
        "gold.gym_summary",
        "select gym, concat('mac', gym) as mac_address, "
        "cast(date '2025-01-01' + cast(day as integer) as date) as date, "
        "60 as minutes_in_gym, 30 as minutes_exercising, day as user_id, 1 as visits, "
        "0 as open_visits, 1 as workouts "
        "from range(400) as gyms(gym), range(400) as days(day)",
    )
    # 1,000 workouts of 50 minutes.
    marts.fill(
        "gold.workout_bpm_summary",
        "select user_id, date '2026-03-02' as date, 1 as workout_id, 1 as session_id, "
        "100.0 as min_bpm, 120.0 as avg_bpm, 140.0 as max_bpm, 3000 as num_readings, "
        "timestamptz '2026-03-02 10:00:00+00' + to_seconds(user_id) as started_at, "
        "timestamptz '2026-03-02 11:00:00+00' as ended_at from range(1000) as users(user_id)",
    )
    marts.fill(
        "gold.workout_bpm_curve",
        "select user_id, 1 as workout_id, 1 as session_id, minute, 60 as num_readings, "
        "100.123456789 as min_bpm, 120.123456789 as avg_bpm, 140.123456789 as max_bpm "
        "from range(1000) as users(user_id), range(1, 51) as minutes(minute)",
    )
    page = wearables.page(marts.ask)
    blocks = {block.key: block for block in page.blocks}
    assert page.answer[0].endswith("; most of it in gym 0 (under 1%).")
    assert "9,600,000 minutes in 400 gyms" in page.answer[0]
    # 30 gyms and all of them, by week: 2025-01-01 is a Wednesday, the 400th day in week 58.
    assert len(blocks["days"].rows) == 31 * 58
    of_all = [row for row in blocks["days"].rows if row["gym"] == "all gyms"]
    assert sum(row["minutes_in_gym"] for row in of_all) == 9_600_000
    assert "30 busiest gyms" in blocks["days"].left_out
    assert "first 20 of 160,000 rows. The CSV has the first 5,000" in blocks["members"].left_out
    assert blocks["curve"].left_out.startswith("To choose from are the latest 160 of 1,000 ")
    assert len(render.html(page, [])) < 3_000_000


@pytest.mark.parametrize(
    ("gyms", "weeks", "shown"),
    [(30, 20, 30), (31, 20, 30), (31, 300, 25)],  # 26 times 300 weeks are 7,800 rows of 8,000
)
def test_of_each_gym_to_choose_from_all_weeks_are_drawn(gyms: int, weeks: int, shown: int) -> None:
    marts = Marts()
    marts.fill(
        "gold.gym_summary",
        "select gym, 'm' as mac_address, "
        "cast(date '2015-01-05' + cast(7 * week as integer) as date) as date, "
        "100 - gym as minutes_in_gym, 1 as visits, 0 as open_visits, 0 as workouts "
        f"from range({gyms}) as gyms(gym), range({weeks}) as weeks(week)",
    )
    [block] = [block for block in wearables.page(marts.ask).blocks if block.key == "days"]
    drawn = Counter(row[0] for row in render.data_of(block)["rows"])
    assert block.choice
    assert [*drawn] == [*block.choice.options]
    assert [*drawn.values()] == [weeks] * (shown + 1)
    said = f"To choose from are the {shown} busiest gyms; gold.gym_summary has all."
    assert block.left_out == (said if shown < gyms else "")


@pytest.mark.parametrize(
    ("stocks", "days", "said"),
    [
        (40, 120, ""),
        (40, 121, "These are the last 120 days; gold.inventory_daily has all."),
        (41, 1, "To choose from are 40 of 41 stocks, the low ones first, then those that sell "
         "most, of the last 120 days; gold.inventory_daily has all."),
    ],
)  # fmt: skip
def test_days_and_stocks_that_a_page_leaves_out_are_said(stocks: int, days: int, said: str) -> None:
    marts = Marts()
    marts.make("gold.inventory_alerts")
    marts.fill(
        "gold.inventory_daily",
        "select product_id, 'w' as warehouse, "
        "cast(date '2025-01-01' + cast(day as integer) as date) as date, "
        "5 as opening, 1 as received, 1 as issued, 1 as sold, 5 as closing "
        f"from range({stocks}) as products(product_id), range({days}) as days(day)",
    )
    [block] = [block for block in retail.page(marts.ask).blocks if block.key == "stock"]
    assert block.left_out == said
    assert len(block.rows) == 40 * min(days, 120)


@pytest.mark.parametrize(
    ("servers", "weeks", "stopped", "said"),
    [
        (6, 53, 0, ""),
        (6, 54, 0, "These are the weeks of the last year; gold.server_weekly has all."),
        (7, 1, 0, "To see: 6 servers, the fullest in the last week, of 7; gold.server_weekly has "
         "all, and weeks older than a year."),
        (2, 2, 1, "To see: 1 server, the fullest in the last week, of 2; gold.server_weekly has "
         "all, and weeks older than a year."),
    ],
)  # fmt: skip
def test_servers_and_weeks_that_a_page_leaves_out_are_said(
    servers: int, weeks: int, stopped: int, said: str
) -> None:
    """Of some servers there is no last week."""
    marts = Marts()
    marts.make("gold.server_upgrade_candidates", {"server_id": 0, "reason": "no traffic"})
    marts.make("gold.server_load")
    marts.fill(
        "gold.server_weekly",
        "select server_id, cast(date '2025-01-06' + cast(7 * week as integer) as date) as "
        "week_start, 1 as devices_peak, 1 as devices, 0.5 as usage_rate_p95 "
        f"from range({servers}) as servers(server_id), range({weeks}) as weeks(week) "
        f"where week < {weeks} - 1 or server_id >= {stopped}",
    )
    [block] = [block for block in network.page(marts.ask).blocks if block.key == "weekly"]
    assert block.left_out == said


def test_a_stock_that_has_not_moved_for_months_is_said_to_be_left_out() -> None:
    marts = Marts()
    marts.make("gold.inventory_alerts")
    moved = {"warehouse": "w", "opening": 0, "received": 5, "issued": 0, "sold": 0, "closing": 5}
    marts.make(
        "gold.inventory_daily",
        moved | {"product_id": 1, "date": "2025-01-01"},
        moved | {"product_id": 2, "date": "2025-12-31"},
    )
    [block] = [block for block in retail.page(marts.ask).blocks if block.key == "stock"]
    assert block.left_out.startswith("To choose from are 1 of 2 stocks, ")


@pytest.mark.parametrize("module", [retail, now])
def test_a_live_view_is_asked_once(module: Any) -> None:
    asked: list[str] = []
    marts = Marts()
    for table in declared():
        marts.make(table)
    stock = {"warehouse": "w", "reorder_point": 5, "as_of": "2026-03-02 12:00:00+00"}
    for number, on_hand in ((1, 9), (2, 3)):
        row = stock | {"product_id": number, "on_hand": on_hand, "is_low": on_hand < 5}
        marts.make("gold.stock_status", row)
    opened = {"warehouse": "w", "opened_at": "2026-03-02 09:00:00+00", "on_hand": 4}
    marts.make("gold.inventory_alerts", opened | {"product_id": 2})

    def ask(sql: str) -> list[Row] | None:
        asked.append(sql)
        return marts.ask(sql)

    page = module.page(ask)
    assert page.answer[0] == "1 of 2 stocks with a reorder point is low: product 2 in w (3 left)."
    assert "2 Mar 2026, 12:00" in page.freshness
    assert sum("gold.stock_status" in sql for sql in asked) == 1


@pytest.mark.parametrize("module", [retail, now])
def test_what_is_oversold_lasts_no_days(module: Any) -> None:
    marts = Marts()
    low = {"warehouse": "w", "reorder_point": 5, "on_hand": -17, "days_of_cover": -47.6}
    opened = {"opened_at": "2026-03-02 09:00:00+00"}
    for number, days in ((1, -47.6), (2, None)):
        row = low | {"product_id": number, "days_of_cover": days}
        marts.make("gold.stock_status", row | {"is_low": True})
        marts.make("gold.inventory_alerts", row | opened)
    [block] = [block for block in module.page(marts.ask).blocks if block.key in ("low", "stock")]
    assert [row["days_of_cover"] for row in block.rows] == [0, None]


def test_a_page_is_as_fresh_as_what_is_published_whatever_the_live_stock_says() -> None:
    marts = Marts()
    marts.make("gold.inventory_alerts")
    marts.make(
        "gold.stock_status",
        {"product_id": 1, "warehouse": "w", "on_hand": 9, "reorder_point": 5, "is_low": False,
         "as_of": "2026-03-05 12:00:00+00"},
    )  # fmt: skip
    amounts = " Amounts are in the shop's own currency."
    live = " Stock as of 5 Mar 2026, 12:00 UTC, accepted, not yet tested."
    assert retail.page(marts.ask).freshness == f"No event yet.{live}{amounts}"

    def step(number: int, built: int, published: int | None, as_of: str, hour: int) -> Row:
        state = json.dumps({"as_of": f"cast('{as_of}' as timestamp)"})
        return {
            "domain": "retail", "number": number, "built": built, "published": published,
            "state": state, "recorded_at": f"2026-03-04 {hour}:00:00+00",
        }  # fmt: skip

    marts.make(
        "audit.domains",
        step(1, 3, None, "2026-03-02 10:00:00", 10),
        step(2, 3, 3, "2026-03-02 10:00:00", 11),
        step(3, 4, 3, "2026-03-05 11:59:00", 12),  # its tests are red
    )
    assert retail.page(marts.ask).freshness == (
        "Data up to 2 Mar 2026, 10:00 UTC; tested and published 4 Mar 2026, 11:00 UTC (load 3)."
        f"{live}{amounts}"
    )


def test_what_needs_somebody_now_is_said_first() -> None:
    marts = Marts()
    marts.make("gold.server_status", {"server_id": 1, "devices_connected": 3, "usage_rate": 0.1})
    stock = {"warehouse": "w", "reorder_point": 5, "on_hand": 0}
    marts.make("gold.stock_status", stock | {"product_id": 1, "is_low": False})
    calm = now.page(marts.ask)
    assert not calm.is_urgent
    assert calm.answer[0].startswith("No server is overloaded")
    marts.make("gold.stock_status", stock | {"product_id": 2, "is_low": True})
    page = now.page(marts.ask)
    assert page.is_urgent
    assert page.answer[0] == (
        "1 of 2 stocks with a reorder point is low: product 2 in w (none left)."
    )
    assert [block.key for block in page.blocks] == ["servers", "stock"]


def test_whoever_looks_the_lakehouse_is_asked_once_in_a_while() -> None:
    asked, seconds = 0, 0.0

    def ask(_: str) -> list[Row] | None:
        nonlocal asked
        asked += 1
        return None

    looked_at = Now(ask, lambda: seconds)
    looked_at.page()
    once = asked
    seconds = 2.9
    assert answer_of(looked_at.page())["answer"] == ("There is no data of now yet.",)
    assert asked == once
    seconds = 3.0
    looked_at.page()
    assert asked == 2 * once
