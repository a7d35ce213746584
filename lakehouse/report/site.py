"""The site: all pages are worked out first, then each file takes its place at once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from lakehouse.reading import Ask
from lakehouse.report import health, network, now, proof, render, retail, wearables, words
from lakehouse.report.parts import Page

DOMAINS: tuple[ModuleType, ...] = (wearables, network, retail)
# What others put into the site: linked where it is there.
_BESIDE = (("docs/index.html", "Docs"), ("lineage/index.html", "Lineage"))


def write(
    site: Path,
    ask: Ask,
    warehouse: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Writes all pages with their CSV files.

    Args:
        site: The folder; what of it is not made here stays as it is.
        ask: Asks the lakehouse.
        warehouse: The folder of its tables, where they lie in one.
        say: Told, again and again, how far it is.

    Returns:
        The start page.

    Raises:
        PySparkException: A question fails; the site is as it was.
        OSError: A file cannot be written; each is as it was, or new.
    """
    told = []
    for module in DOMAINS:
        say(f"Page: {module.TITLE} ...")
        told.append(module.page(ask))
    say(f"Page: {health.TITLE} ...")
    told.append(health.page(ask, warehouse))
    links = links_of(site)
    urgent_first = sorted(told, key=lambda page: not page.is_urgent)
    files = {"index.html": render.html(_start(told), links, cards=urgent_first)}
    say(f"Page: {now.TITLE} ...")
    for page in (*told, now.page(ask), proof.page()):
        files[f"{page.key}.html"] = render.html(page, links)
        for block in page.blocks:
            files[f"{page.key}-{block.key}.csv"] = render.csv_of(block)
    for name, text in files.items():
        put(site / name, text)
    return site / "index.html"


def links_of(site: Path) -> list[tuple[str, str]]:
    """The pages that each page links: address and name."""
    pages = (*DOMAINS, now, health, proof)
    own = [("index.html", "Start"), *((f"{page.KEY}.html", page.TITLE) for page in pages)]
    return own + [(address, name) for address, name in _BESIDE if (site / address).exists()]


def links_there(site: Path) -> list[tuple[str, str]]:
    """The page of now, which is always served, and the others that are written."""
    own = f"{now.KEY}.html"
    return [link for link in links_of(site) if link[0] == own or (site / link[0]).exists()]


def _start(told: list[Page]) -> Page:
    """The page that all begins with: who needs somebody, and the answers of each page."""
    urgent = [page.title for page in told if page.is_urgent]
    written = f"Written {words.moment(str(datetime.now(UTC)))}."
    return Page("index", "Start", (start_sentence(told),), bool(urgent), freshness=written)


def start_sentence(told: list[Page]) -> str:
    """Which of the domains, or the lakehouse's health, need somebody."""
    urgent = [page.title for page in told if page.is_urgent]
    if urgent:
        needs = "needs" if len(urgent) == 1 else "need"
        return f"{words.listing(urgent, len(urgent))} {needs} somebody now."
    if any(page.blocks for page in told):
        return "Nothing needs anybody now."
    return "There is no data yet."


def put(file: Path, text: str) -> None:
    """Writes a file of the site, which takes its place at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    hidden = file.with_name(f".{file.name}.part")
    hidden.write_text(text, encoding="utf-8", newline="")
    hidden.replace(file)
