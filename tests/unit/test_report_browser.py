"""The pages in a browser: what is drawn is what the marts say, and nothing leaves, runs or hides.

Screenshots are kept in target/site, of each page in light, dark, and as wide as a phone.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from lakehouse.errors import LakehouseError
from lakehouse.reading import Row
from lakehouse.report import live, site
from lakehouse.settings import PROJECT
from tests.support.marts import Marts

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
SCREENSHOTS = PROJECT / "target" / "site"
PAGES = ("index", "wearables", "network", "retail", "live", "health", "proof")
# The colours that are preferred, and the width, in pixels.
LOOKS: dict[str, tuple[Literal["light", "dark"], int]] = {
    "light": ("light", 1400),
    "dark": ("dark", 1400),
    "phone": ("light", 390),
}
HOSTILE = "</script><script>window.ran=1</script><img src=x onerror=window.ran=1>{{1+1}}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        message = "Chromium is missing. Install it, on Debian with: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        # Root has no sandbox; the pages are ours.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])


def wearables(marts: Marts) -> None:
    day = {"mac_address": "m", "visits": 1, "open_visits": 0, "workouts": 1}
    marts.make(
        "gold.gym_summary",
        day | {"gym": 1, "date": "2026-03-01", "user_id": 7, "minutes_in_gym": "60.50",
               "minutes_exercising": "20.25"},
        day | {"gym": 2, "date": "2026-03-03", "user_id": 7, "minutes_in_gym": "30.00",
               "minutes_exercising": "30.00"},
        day | {"gym": 2, "date": "2026-03-03", "user_id": 8, "minutes_in_gym": "90.00",
               "minutes_exercising": "0.00"},
        day | {"gym": 2, "date": "2026-03-03", "user_id": None, "open_visits": 1},
    )  # fmt: skip
    marts.make("gold.gym_visits", {"gym": 2, "login_at": "2026-03-03 20:00:00+00"})
    workout = {"date": "2026-03-03", "workout_id": 1, "session_id": 1, "num_readings": 120}
    marts.make(
        "gold.workout_bpm_summary",
        workout | {"user_id": 7, "age": "25-35", "city": HOSTILE, "min_bpm": 61.0,
                   "avg_bpm": 120.4, "max_bpm": 171.0, "started_at": "2026-03-03 18:00:00+00",
                   "ended_at": "2026-03-03 18:02:00+00"},
        workout | {"user_id": 8, "age": None, "city": None, "min_bpm": 80.0, "avg_bpm": 100.0,
                   "max_bpm": 130.0, "started_at": "2026-03-03 19:00:00+00",
                   "ended_at": "2026-03-03 19:01:00+00"},
        # Later, and without a reading: no minute of it is known.
        workout | {"user_id": 9, "num_readings": 0, "started_at": "2026-03-03 19:02:00+00",
                   "ended_at": "2026-03-03 19:03:00+00"},
    )  # fmt: skip
    minute = {"workout_id": 1, "session_id": 1, "num_readings": 60}
    marts.make(
        "gold.workout_bpm_curve",
        minute | {"user_id": 7, "minute": 1, "min_bpm": 61, "avg_bpm": 100, "max_bpm": 140},
        minute | {"user_id": 7, "minute": 2, "min_bpm": 90, "avg_bpm": 140.8, "max_bpm": 171},
        minute | {"user_id": 8, "minute": 1, "min_bpm": 80, "avg_bpm": 100, "max_bpm": 130},
    )


def network(marts: Marts) -> None:
    counts = {"overloaded_windows": 0, "days_overloaded": 0}
    marts.make(
        "gold.server_upgrade_candidates",
        counts | {"server_id": 1, "location": HOSTILE, "capacity_mbps": 1000.0,
                  "usage_rate_p95": 0.95, "recommended_capacity_mbps": 2500.0,
                  "reason": "overloaded"},
        counts | {"server_id": 2, "location": "Bonn", "capacity_mbps": 1000.0,
                  "usage_rate_p95": 0.5, "reason": "fine"},
        counts | {"server_id": 3, "location": "Ulm", "reason": "the capacity is unknown"},
    )  # fmt: skip
    marts.make(
        "gold.server_load",
        {"server_id": 1, "window_start": "2026-03-02 10:00:00+00", "devices_connected": 3,
         "bandwidth_used_mbps": 30.5, "last_event_at": "2026-03-02 10:04:00+00"},
        {"server_id": 2, "window_start": "2026-03-02 10:00:00+00", "devices_connected": 4,
         "bandwidth_used_mbps": 9.5, "last_event_at": "2026-03-02 10:03:00+00"},
        {"server_id": 2, "window_start": "2026-03-02 10:05:00+00", "devices_connected": 5,
         "bandwidth_used_mbps": 12.0, "last_event_at": "2026-03-02 10:06:00+00"},
        # More than a day before: no part of the last 24 hours.
        {"server_id": 2, "window_start": "2026-03-01 10:00:00+00", "devices_connected": 99,
         "bandwidth_used_mbps": 99.0, "last_event_at": "2026-03-01 10:01:00+00"},
    )  # fmt: skip
    week = {"server_id": 1, "devices_peak": 5, "devices": 9}
    marts.make(
        "gold.server_weekly",
        week | {"week_start": "2026-02-23", "usage_rate_p95": 0.6, "share_of_time_short": 0.0},
        week | {"week_start": "2026-03-02", "usage_rate_p95": 0.95, "share_of_time_short": 0.25,
                "usage_rate_p95_change": 0.35, "share_of_time_short_change": 0.25},
    )  # fmt: skip
    heavy = {"date": "2026-03-02", "server_id": 1}
    marts.make(
        "gold.heavy_users",
        heavy | {"customer_id": 11, "gigabytes": 30.0, "times_median": 6.0, "is_heavy": True,
                 "others_share_of_time_short": 0.4, "suggested_limit_mbps": 25.0},
        heavy | {"customer_id": 12, "gigabytes": 10.0, "times_median": 1.0, "is_heavy": False,
                 "others_share_of_time_short": 0.1},
    )  # fmt: skip
    marts.make(
        "gold.subscribed_vs_received",
        {"customer_id": 11, "date": "2026-03-02", "plan_mbps": 100.0, "received_p50_mbps": 80.0,
         "share_of_time_short": 0.0, "gets_what_was_sold": True},
        {"customer_id": 12, "date": "2026-03-02", "plan_mbps": 50.0, "received_p50_mbps": 12.5,
         "share_of_time_short": 0.375, "gets_what_was_sold": False},
    )  # fmt: skip
    status = {"as_of": "2026-03-02 10:06:00+00", "capacity_mbps": 1000.0, "location": HOSTILE}
    marts.make(
        "gold.server_status",
        status | {"server_id": 1, "devices_connected": 3, "bandwidth_used_mbps": 905.0,
                  "usage_rate": 0.905, "is_overloaded": True},
        status | {"server_id": 2, "devices_connected": 5, "bandwidth_used_mbps": 12.0,
                  "usage_rate": 0.012, "is_overloaded": False},
    )  # fmt: skip


def retail(marts: Marts) -> None:
    sale = {"orders": 1, "lines_without_price": 0, "refunds": "0.00", "category": "books"}
    marts.make(
        "gold.sales_by_region_product",
        sale | {"date": "2026-03-01", "region": "north", "product_id": 1, "units": 2,
                "gross_sales": "20.00", "net_sales": "20.00"},
        sale | {"date": "2026-03-02", "region": HOSTILE, "product_id": 2, "units": 1,
                "gross_sales": "7.50", "net_sales": "7.50"},
    )  # fmt: skip
    marts.make(
        "gold.customer_segments",
        {"customer_id": 1, "segment": "champions", "monetary": "20.00", "frequency": 1,
         "recency_days": 1},
        {"customer_id": 2, "segment": "new", "monetary": "7.50", "frequency": 1,
         "recency_days": 0},
        {"customer_id": 3, "segment": "no orders"},
    )  # fmt: skip
    marts.make(
        "gold.inventory_alerts",
        {"product_id": 2, "warehouse": HOSTILE, "opened_at": "2026-03-02 09:00:00+00",
         "on_hand": 4, "reorder_point": 10},
        {"product_id": 1, "warehouse": "east", "opened_at": "2026-03-01 09:00:00+00",
         "on_hand": 1, "reorder_point": 10, "closed_at": "2026-03-01 10:00:00+00"},
    )  # fmt: skip
    now = {"as_of": "2026-03-02 12:00:00+00", "reorder_point": 10}
    marts.make(
        "gold.stock_status",
        now | {"product_id": 2, "warehouse": HOSTILE, "on_hand": 3, "is_low": True,
               "days_of_cover": 1.5},
        now | {"product_id": 1, "warehouse": "east", "on_hand": 50, "is_low": False},
    )  # fmt: skip
    marts.make(
        "gold.inventory_daily",
        {"product_id": 1, "warehouse": "east", "date": "2026-03-01", "opening": 1, "received": 50,
         "issued": 1, "sold": 1, "closing": 50},
        {"product_id": 2, "warehouse": HOSTILE, "date": "2026-03-02", "opening": 5, "received": 0,
         "issued": 1, "sold": 1, "closing": 4},
    )  # fmt: skip
    marts.make(
        "gold.product_conversion",
        {"product_id": 1, "date": "2026-03-01", "views": 30, "adds": 5, "buys": 3,
         "conversion_rate": 0.1},
        {"product_id": 1, "date": "2026-03-02", "views": 10, "adds": 4, "buys": 3,
         "conversion_rate": 0.3},
    )  # fmt: skip


def health(marts: Marts, warehouse: Path) -> None:
    marts.make(
        "audit.loads",
        {"load_id": 3, "source": "sbit.gym_logins", "status": "finished", "num_rows": 12,
         "recorded_at": "2006-03-02 10:30:00+00"},
    )  # fmt: skip
    run = {"invocation_id": "a", "command": "build", "domain": "wearables", "cut": 3}
    run |= {"run_started_at": "2026-03-02 10:31:00+00", "recorded_at": "2026-03-02 10:31:30+00"}
    node = run | {"resource_type": "model", "status": "success"}
    marts.make(
        "audit.run_results",
        node | {"node_id": "m.gym_summary", "name": "gym_summary", "seconds": 1.25},
        node | {"node_id": "m.gym_visits", "name": "gym_visits", "seconds": 2.5},
        run | {"node_id": "t.a", "name": "a_test", "resource_type": "test", "status": "fail",
               "failures": 2, "message": HOSTILE},
    )  # fmt: skip
    waiting = {"source": "sbit.x", "entity": "heart_rates", "reason": "no registration"}
    marts.make("audit.unmatched", waiting | {"key": "7", "num_events": 9})
    log = warehouse / "silver.db" / "int_readings" / "_delta_log"
    log.mkdir(parents=True)
    version = log / "00000000000000000000.crc"
    version.write_text('{"tableSizeBytes": 2500000, "numFiles": 3}')
    os.utime(version, (now := time.time(), now))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    marts = Marts()
    for fill in (wearables, network, retail):
        fill(marts)
        marts.make(
            "audit.domains",
            {"domain": fill.__name__, "built": 3, "published": 3, "number": 1,
             "recorded_at": "2026-03-02 11:00:00+00"},
        )  # fmt: skip
    reject = {"entity": HOSTILE, "level": "row", "reason": HOSTILE}
    marts.make("audit.rejects", *({"source": f"{s}.x"} | reject for s in ("sbit", "telecom")))
    folder, warehouse = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("warehouse")
    health(marts, warehouse)
    site.write(folder, marts.ask, warehouse)
    return folder


class Opened:
    """An opened page, with what it said and asked for."""

    def __init__(self, browser: Browser, address: str) -> None:
        # A zone in which a day of UTC begins on the day before.
        self._context = browser.new_context(timezone_id="America/Los_Angeles")
        self.page: Page = self._context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def marks(self, block: str, chart: int = 0) -> list[str]:
        """What the marks of a chart say to who cannot see them."""
        marks = f"#{block} [data-chart='{chart}'] .role-mark [role=graphics-symbol]"
        return [mark.get_attribute("aria-label") or "" for mark in self.page.locator(marks).all()]

    def table(self, block: str) -> list[list[str]]:
        """The cells of a block's table."""
        rows = self.page.locator(f"#{block} tbody tr").all()
        return [[c.text_content() or "" for c in row.locator("th, td").all()] for row in rows]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_keeps_to_itself(browser: Browser, pages: Path, name: str) -> None:
    address = (pages / f"{name}.html").as_uri()
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with Opened(browser, address) as opened:
        for look, (colours, width) in LOOKS.items():
            opened.page.emulate_media(color_scheme=colours)
            opened.page.set_viewport_size({"width": width, "height": 900})
            opened.page.screenshot(path=SCREENSHOTS / f"{name}-{look}.png", full_page=True)
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
            faults = Axe().run(opened.page)
            assert faults.violations_count == 0, faults.generate_report()
        for summary in opened.page.locator("summary").all():
            summary.click()
        faults = Axe().run(opened.page)
        assert faults.violations_count == 0, faults.generate_report()
        assert opened.said == []
        assert [url for url in opened.asked if not url.startswith("data:")] == [address]
        assert opened.page.evaluate("window.ran") is None


def test_what_may_run_is_named_and_eval_is_not(browser: Browser, pages: Path) -> None:
    with Opened(browser, (pages / "network.html").as_uri()) as opened:
        opened.page.evaluate(
            "() => { const s = document.createElement('script'); s.textContent = 'window.ran=1';"
            " document.body.append(s); }"
        )
        assert opened.page.evaluate("window.ran") is None
        assert any("Content Security Policy" in line for line in opened.said)
        policy = opened.page.locator("meta[http-equiv=Content-Security-Policy]")
        assert "unsafe-eval" not in (policy.get_attribute("content") or "")


def test_wearables_are_drawn_as_they_are(browser: Browser, pages: Path) -> None:
    with Opened(browser, (pages / "wearables.html").as_uri()) as opened:
        gyms = [
            "gym: gym 2; in the gym (min): 120; of it exercising (min): 30; members: 2",
            "gym: gym 1; in the gym (min): 61; of it exercising (min): 20; members: 1",
        ]
        assert opened.marks("gyms") == gyms + gyms  # the whole bars, then the parts
        days = opened.marks("days")
        assert days[: len(days) // 2] == [
            "day: 1 Mar 2026; in the gym (min): 61; of it exercising (min): 20; visits: 1",
            "day: 3 Mar 2026; in the gym (min): 120; of it exercising (min): 30; visits: 3",
        ]
        drawn = opened.page.locator("#workouts svg").text_content() or ""
        assert drawn.count("unknown") == 1
        assert "heart rate (bpm)" in drawn
        assert opened.marks("workouts")[0].startswith("workout: 9, 3 Mar 19:02; lowest (bpm): unk")
        assert opened.marks("workouts")[1] == (
            "workout: 8, 3 Mar 19:00; lowest (bpm): 80; heart rate, mean (bpm): 100; "
            "highest (bpm): 130; age: unknown; city: unknown"
        )
        assert HOSTILE in opened.marks("workouts")[2]
        assert opened.table("members")[0] == ["member 8", "gym 2", "1", "0", "90", "0"]
        assert ["not registered", "gym 2", "1", "1", "–", "–"] in opened.table("members")  # noqa: RUF001


def test_one_workout_is_chosen_by_keyboard(browser: Browser, pages: Path) -> None:
    with Opened(browser, (pages / "wearables.html").as_uri()) as opened:
        assert opened.marks("curve") == [
            "minute of the workout: 1; heart rate, mean (bpm): 100; lowest (bpm): 80; "
            "highest (bpm): 130"
        ]
        opened.page.get_by_label("Workout", exact=True).focus()
        opened.page.keyboard.press("ArrowDown")
        opened.page.wait_for_function(
            "document.querySelectorAll('#curve .role-mark [role=graphics-symbol]').length === 2"
        )
        assert [said.split("; ")[1] for said in opened.marks("curve")] == [
            "heart rate, mean (bpm): 100",
            "heart rate, mean (bpm): 141",
        ]
        session = "member 7, 3 Mar 18:00 UTC, workout 1, session 1"
        assert opened.table("curve") == [
            ["1", session, "60", "61", "100", "140"],
            ["2", session, "60", "90", "141", "171"],
        ]


def test_the_network_is_drawn_as_it_is(browser: Browser, pages: Path) -> None:
    with Opened(browser, (pages / "network.html").as_uri()) as opened:
        assert opened.page.locator(".answer p").all_text_contents() == [
            f"1 of 3 servers needs an upgrade: server 1 in {HOSTILE} (95% in use, raise it to "
            "2,500 Mbit/s).",
            "Of 1 server the use is not known.",
            "1 customer takes far more than a share, above all customer 11: 75% of all bytes of "
            "server 1, where the others were short 40% of their time.",
            "1 of 2 customers does not get what was sold, least of all customer 12: short 38% of "
            "the time.",
        ]
        assert [said.split("; ")[:2] for said in opened.marks("upgrade")] == [
            ["server: server 1", "capacity in use, 95th percentile: 95.0%"],
            ["server: server 2", "capacity in use, 95th percentile: 50.0%"],
            ["server: server 3", "capacity in use, 95th percentile: unknown"],
        ]
        assert opened.marks("day", 0) == [
            "time (UTC): 2 Mar 2026, 10:00; devices connected: 7",
            "time (UTC): 2 Mar 2026, 10:05; devices connected: 5",
        ]
        assert [said.split("; ")[1] for said in opened.marks("day", 1)] == [
            "bandwidth in use (Mbit/s): 40.0",
            "bandwidth in use (Mbit/s): 12.0",
        ]
        assert [said.split("; ")[0::2] for said in opened.marks("weekly", 1)] == [
            ["week from: 2 Mar 2026", "customers' time short: 25.0%"],
            ["week from: 23 Feb 2026", "customers' time short: 0.0%"],
        ]
        assert [said.split("; ")[:2] for said in opened.marks("heavy")] == [
            ["customer and server: 11 on server 1", "share of the server's bytes: 75.0%"],
            ["customer and server: 12 on server 1", "share of the server's bytes: 25.0%"],
        ]
        assert opened.table("short") == [
            ["customer 12", "50", "12.5", "37.5", "1", "0"],
            ["customer 11", "100", "80.0", "0.0", "0", "1"],
        ]
        red = opened.page.locator("#upgrade [aria-label^='server: server 1']")
        assert red.get_attribute("fill") == "var(--alarm)"
        assert (pages / "network-short.csv").read_text().splitlines()[1] == (
            "customer 12,50.0,12.5,0.375,1,0"
        )


def test_the_shop_is_drawn_as_it_is(browser: Browser, pages: Path) -> None:
    with Opened(browser, (pages / "retail.html").as_uri()) as opened:
        low, sells = opened.page.locator(".answer p").all_text_contents()
        assert low == (
            f"1 of 2 stocks with a reorder point is low: product 2 in {HOSTILE} (3 left, lasts 1.5 "
            "days)."
        )
        assert sells == (
            "In the 28 days up to 2 Mar 2026, sales came to 27.50 net; product 1 (books) sells "
            "best: 20.00."
        )
        assert [said.split("; ")[-4:] for said in opened.marks("low")[:1]] == [
            [f"product and warehouse: product 2, {HOSTILE}", "on hand (pieces): 3",
             "reorder point (pieces): 10", "lasts (days): 1.5"],
        ]  # fmt: skip
        assert opened.marks("sales") == [
            "day: 1 Mar 2026; region: north; net sales: 20.00; units: 2",
            f"day: 2 Mar 2026; region: {HOSTILE}; net sales: 7.50; units: 1",
        ]
        assert opened.marks("segments", 1) == [
            "segment: champions; customers: 1; net sales of all time: 20.00",
            "segment: new; customers: 1; net sales of all time: 7.50",
            "segment: no orders; customers: 1; net sales of all time: 0.00",
        ]
        # Of 40 views 10% in 30, 30% in 10.
        assert opened.table("conversion") == [["product 1", "40", "9", "6", "15.0"]]
        assert [said.split("; ")[1] for said in opened.marks("stock")] == [
            "stock at the day's end (pieces): 4"
        ]


def test_what_is_crowded_can_be_read(browser: Browser, tmp_path: Path) -> None:
    """Figures at a limit's line and below a narrow chart, commands in two lines, long tables."""
    marts = Marts()
    network(marts)
    for number in range(20):
        stock = {"product_id": number, "warehouse": "north-west", "on_hand": number - 17}
        marts.make("gold.stock_status", stock | {"reorder_point": 15, "is_low": True})
        opened_at = {"opened_at": "2026-03-02 09:00:00+00"}
        marts.make("gold.inventory_alerts", stock | {"reorder_point": 15} | opened_at)
    start = site.write(tmp_path, marts.ask)

    def style(opened: Opened, where: str, name: str) -> str:
        found = opened.page.locator(where).first
        value: str = found.evaluate("(item, name) => getComputedStyle(item)[name]", name)
        return value

    with Opened(browser, start.as_uri()) as opened:
        assert style(opened, "code", "webkitBoxDecorationBreak") == "clone"
    with Opened(browser, (tmp_path / "retail.html").as_uri()) as opened:
        opened.page.set_viewport_size({"width": 390, "height": 900})
        opened.page.reload()
        opened.page.wait_for_selector("html[data-ready]", state="attached")
        labels = opened.page.locator("#low .role-axis-label text:not([opacity='0'])")
        figures = [
            text
            for text in labels.all_text_contents()
            if text.strip("\N{MINUS SIGN}0123456789") == ""
        ]
        assert len(figures) >= 3
        assert style(opened, "#low .scroll", "backgroundAttachment").endswith(
            "local, scroll, scroll, scroll, scroll"
        )
    with Opened(browser, (tmp_path / "live.html").as_uri()) as opened:
        assert style(opened, "#servers .role-mark.mark-text text", "paintOrder") == "stroke"
        assert style(opened, "#servers td.word", "minWidth") != "auto"


def test_health_is_told_as_it_is(browser: Browser, pages: Path) -> None:
    with Opened(browser, (pages / "health.html").as_uri()) as opened:
        right, fresh, slower = opened.page.locator(".answer p").all_text_contents()
        assert right == "1 of 1 test is red: a_test (2 rows)."
        assert fresh.startswith("1 of 1 source is late: sbit.gym_logins (last load ")
        assert slower.endswith(": a table has been built 1 time at most, and 10 are needed.")
        assert opened.marks("nodes") == [
            "table: gym_visits; last builds (s): 2.5",
            "table: gym_summary; last builds (s): 1.3",
        ]
        assert opened.table("outcomes") == [
            ["a_test", "wearables", "fail", "2", HOSTILE, "2026-03-02 10:31"]
        ]
        assert opened.table("runs") == [
            ["wearables", "build", "2026-03-02 10:31", "30.0", "3", "1", "12"]
        ]
        assert opened.table("tables") == [["silver.int_readings", "2.50", "3"]]
        assert opened.table("domains") == [
            ["network", "3", "3", "2026-03-02 10:06", "2026-03-02 11:00", "no"],
            ["retail", "3", "3", "\N{EN DASH}", "2026-03-02 11:00", "no"],
            ["wearables", "3", "3", "2026-03-03 20:00", "2026-03-02 11:00", "no"],
        ]
        refused = [row[:5] for row in opened.table("refused")]
        assert ["sbit.x", HOSTILE, "row refused", HOSTILE, "1"] in refused
        assert ["sbit.x", "heart_rates", "waits", "no registration", "9"] in refused


@pytest.mark.parametrize("name", PAGES)
def test_the_keyboard_goes_through_a_page_in_its_order(
    browser: Browser, pages: Path, name: str
) -> None:
    with Opened(browser, (pages / f"{name}.html").as_uri()) as opened:
        opened.page.evaluate(
            "() => document.querySelectorAll('a[href], select, summary').forEach("
            "(item, place) => { item.dataset.place = place; })"
        )
        many = opened.page.locator("[data-place]:visible").count()
        tables = opened.page.locator("[tabindex='0']:visible").count()  # reached, to be scrolled
        reached = []
        for _ in range(many + tables):
            opened.page.keyboard.press("Tab")
            place = opened.page.evaluate("document.activeElement.dataset.place")
            reached += [] if place is None else [int(place)]
        assert reached[0] == 0
        assert reached == sorted(set(reached))
        assert len(reached) == many
        assert opened.page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != (
            "none"
        )


def test_a_table_of_now_comes_and_goes_with_its_rows(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.2)
    marts = Marts()
    marts.fill(
        "gold.stock_status",
        "select product_id, 'w' as warehouse, timestamptz '2026-03-02 12:00:00+00' as as_of, "
        "3 as on_hand, 2 as reorder_point, false as is_low from range(30) as products(product_id)",
    )
    with live.server(tmp_path, marts.ask, site.links_there(tmp_path)) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        with Opened(browser, f"http://127.0.0.1:{serving.server_address[1]}/live.html") as opened:
            rows, left_out = (
                opened.page.locator(f"#stock {it}") for it in ("tr", "[data-left-out]")
            )
            assert rows.count() == 0
            assert left_out.is_hidden()
            for low, said in ((2, ""), (23, "The chart shows the first 20 of 23 stocks.")):
                marts.change(f"update gold.stock_status set is_low = product_id < {low}")
                opened.page.get_by_text(
                    f"{low} of 30 stocks with a reorder point are low"
                ).wait_for()
                opened.page.locator("#stock [data-many]").get_by_text(f"{low} rows").wait_for(
                    state="attached"
                )
                assert rows.count() == 1 + min(low, 20)
                assert left_out.text_content() == said
                assert left_out.is_hidden() == (not said)
            marts.change("update gold.stock_status set is_low = false")
            opened.page.get_by_text("Nothing runs out").wait_for()
            opened.page.locator("#stock table").wait_for(state="detached")
            assert left_out.is_hidden()
        serving.shutdown()


def test_the_page_of_now_follows_the_live_views(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EVERY_SECONDS", 0.5)
    marts = Marts()
    network(marts)
    site.write(tmp_path, marts.ask)
    is_down, is_free = threading.Event(), threading.Event()
    is_free.set()

    def ask(sql: str) -> list[Row] | None:
        if is_down.is_set():
            raise LakehouseError("The engine is not up.")
        is_free.wait()
        return marts.ask(sql)

    with live.server(tmp_path, ask, site.links_of(tmp_path)) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        port = serving.server_address[1]
        with Opened(browser, f"http://127.0.0.1:{port}/live.html") as opened:
            assert "server 1 (90%)" in (opened.page.locator(".answer").text_content() or "")
            opened.page.get_by_text("Refreshed every 0.5 seconds").wait_for()
            marts.change(
                "update gold.server_status set usage_rate = 0.25, is_overloaded = false, "
                "devices_connected = 6 where server_id = 1"
            )
            opened.page.get_by_text("No server is overloaded").wait_for()
            opened.page.wait_for_function(
                'document.querySelector(\'#servers [aria-label*="server 1; capacity in use: 25.0%"]'
                "')"
            )
            assert opened.table("servers")[0][0] == "server 1"
            assert opened.table("servers")[0][2] == "25.0"
            csv = opened.page.request.get(f"http://127.0.0.1:{port}/live-servers.csv").text()
            assert csv.splitlines()[1].startswith("server 1,")
            assert ",0.25," in csv.splitlines()[1]  # as it is now, not as it was written
            is_free.clear()
            opened.page.get_by_text("The lakehouse is busy: what is shown is from ").wait_for()
            is_free.set()
            opened.page.get_by_text("Refreshed every 0.5 seconds").wait_for()
            is_down.set()
            opened.page.get_by_text("Not refreshed, what is shown is from ").wait_for()
            assert "No server is overloaded" in (opened.page.locator(".answer").inner_text())
            # A screen that is switched on meanwhile tells why, and shows what comes.
            opened.page.reload()
            assert opened.page.locator(".answer").inner_text() == "The engine is not up."
            is_down.clear()
            opened.page.get_by_text("No server is overloaded").wait_for()
        serving.shutdown()
