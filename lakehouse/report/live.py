"""The site on the loopback address, with the page of now asked again every few seconds.

Whoever looks, and however many do, the lakehouse is asked once in `EVERY_SECONDS` at most, and not
at all while nobody looks.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from pyspark.errors import PySparkException

from ingestion.faults import first_line
from lakehouse.errors import LakehouseError
from lakehouse.reading import Ask
from lakehouse.report import now, render, words
from lakehouse.report.parts import Block, Page

HOST, PORT = "127.0.0.1", 8090
EVERY_SECONDS = 3.0
# What a browser says for an address of ours; another name that leads here is not asked by us.
_NAMES = ("127.0.0.1", "localhost")
_CSV = re.compile(rf"/{now.KEY}-(\w+)\.csv")


class Now:
    """The page of now, asked anew where it is older than `EVERY_SECONDS`.

    Args:
        ask: Asks the lakehouse, from one thread at a time.
        clock: Seconds that only grow.
    """

    def __init__(self, ask: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._turn = threading.Lock()
        self._asked_at: float | None = None
        self._page: Page | None = None
        self._error = ""

    def page(self) -> Page:
        """The page.

        Raises:
            LakehouseError: The lakehouse does not answer.
        """
        with self._turn:
            if self._asked_at is None or self._clock() - self._asked_at >= EVERY_SECONDS:
                try:
                    self._page, self._error = now.page(self._ask), ""
                except (PySparkException, LakehouseError) as error:
                    self._page, self._error = None, first_line(error)
                self._asked_at = self._clock()
            if self._page is None:
                raise LakehouseError(self._error)
            return self._page


def answer_of(page: Page) -> dict[str, Any]:
    """What an open page needs to show the page of now as it is, in values that JSON has."""
    blocks = {block.key: render.data_of(block) | {"said": _said(block)} for block in page.blocks}
    for data in blocks.values():
        del data["specs"]
    return {
        "answer": page.answer,
        "is_urgent": page.is_urgent,
        "freshness": page.freshness,
        "every_seconds": EVERY_SECONDS,
        "blocks": blocks,
    }


def _said(block: Block) -> dict[str, str]:
    """What a block says of its rows, by the names under which its places are marked."""
    return {
        "sentence": block.sentence,
        "left-out": block.left_out,
        "many": words.count(len(block.rows), "row"),
    }


def _csv_of(page: Page, key: str) -> str:
    for block in page.blocks:
        if block.key == key:
            return render.csv_of(block)
    raise LakehouseError("There is no such table now. Open the page again.")


class Handler(SimpleHTTPRequestHandler):
    """Serves the site's files; the page of now, its CSV files and `live.json` as they are now."""

    def __init__(self, *arguments: Any, site: Path, now: Now, links: list[tuple[str, str]]) -> None:
        self._now = now
        self._links = links
        super().__init__(*arguments, directory=str(site))

    def do_GET(self) -> None:
        """Answers a request."""
        with suppress(ConnectionError):  # whoever asked has gone
            self._answer()

    def _answer(self) -> None:
        if (self.headers.get("Host") or "").rsplit(":", 1)[0] not in _NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, "Open it by the address that was printed")
        elif self.path == "/live.json":
            self._send_now("application/json", lambda page: json.dumps(answer_of(page)))
        elif self.path == "/live.html":
            self._send_now("text/html", lambda page: render.html(page, self._links))
        elif found := _CSV.fullmatch(self.path):
            self._send_now("text/csv", lambda page: _csv_of(page, found[1]))
        else:
            super().do_GET()

    def _send_now(self, kind: str, told: Callable[[Page], str]) -> None:
        status = HTTPStatus.OK
        try:
            text = told(self._now.page())
        except LakehouseError as error:
            status = HTTPStatus.SERVICE_UNAVAILABLE
            if kind == "text/html":  # a screen goes on asking, and shows what comes
                text = render.html(Page(now.KEY, now.TITLE, (str(error),), True), self._links)
            else:
                text, kind = json.dumps({"error": str(error)}), "application/json"
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def list_directory(self, path: Any) -> None:
        """Shows no folder's list."""
        del path
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def server(site: Path, ask: Ask, links: list[tuple[str, str]]) -> ThreadingHTTPServer:
    """A server of the site, bound to its port: 8090, or a free one where that is taken.

    Args:
        site: The folder.
        ask: Asks the lakehouse.
        links: Of the site's pages: address and name.
    """
    handler = partial(Handler, site=site, now=Now(ask), links=links)
    try:
        return ThreadingHTTPServer((HOST, PORT), handler)
    except OSError:
        return ThreadingHTTPServer((HOST, 0), handler)
