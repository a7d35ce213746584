"""The pages in a browser: what is drawn is what the marts say, and nothing leaves or runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from lakehouse.report import site
from tests.support.marts import Marts

CHROMIUM = shutil.which("chromium")
HOSTILE = "</script><script>window.ran=1</script><img src=x onerror=window.ran=1>"


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


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    marts = Marts()
    marts.make(
        "gold.server_upgrade_candidates",
        {"server_id": 1, "location": HOSTILE, "capacity_mbps": 1000.0, "usage_rate_p95": 0.95,
         "overloaded_windows": 7, "days_overloaded": 2, "recommended_capacity_mbps": 2500.0,
         "reason": "overloaded"},
        {"server_id": 2, "location": "Bonn", "capacity_mbps": 1000.0, "usage_rate_p95": 0.5,
         "overloaded_windows": 0, "days_overloaded": 0, "recommended_capacity_mbps": None,
         "reason": "fine"},
    )  # fmt: skip
    marts.make(
        "gold.server_load",
        {"server_id": 1, "window_start": "2026-03-02 10:00:00+00", "devices_connected": 3,
         "bandwidth_used_mbps": 30.5, "last_event_at": "2026-03-02 10:04:00+00"},
        {"server_id": 2, "window_start": "2026-03-02 10:00:00+00", "devices_connected": 4,
         "bandwidth_used_mbps": 9.5, "last_event_at": "2026-03-02 10:03:00+00"},
        {"server_id": 2, "window_start": "2026-03-02 10:05:00+00", "devices_connected": 5,
         "bandwidth_used_mbps": 12.0, "last_event_at": "2026-03-02 10:06:00+00"},
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("site")
    site.write(folder, marts.ask)
    return folder


class Opened:
    """An opened page, with what it said and asked for."""

    def __init__(self, browser: Browser, address: str, **how: Any) -> None:
        # A zone in which a day of UTC begins on the day before.
        context = browser.new_context(timezone_id="America/Los_Angeles", **how)
        self.page: Page = context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def marks(self, block: str) -> list[str]:
        """What the marks of a block's charts say to who cannot see them."""
        found = self.page.locator(f"#{block} [role=graphics-symbol]")
        return [mark.get_attribute("aria-label") or "" for mark in found.all()]


def test_it_opens(browser: Browser, pages: Path) -> None:
    opened = Opened(browser, (pages / "network.html").as_uri())
    print(opened.marks("upgrade"), opened.marks("day"))
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [
        (pages / "network.html").as_uri()
    ]
    assert opened.page.evaluate("window.ran") is None
