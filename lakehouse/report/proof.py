"""The page for the sceptic: what is promised, what was done to break it, and how to do it again."""

from __future__ import annotations

from importlib.resources import files

import yaml

from lakehouse.reading import Row
from lakehouse.report import words
from lakehouse.report.parts import Block, Column, Page

KEY, TITLE = "proof", "Proof"


def claims() -> tuple[list[Row], list[Row]]:
    """The promises and the reports of others, a row each.

    Returns:
        Promises: `promise`, `attack`, `seen` (when it was last run), `command`.
        Reports: `trouble`, `reported` (where), `here` (how it comes out), `command`.
    """
    text = files("lakehouse.report").joinpath("proof.yml").read_text(encoding="utf-8")
    promises, reports = yaml.safe_load_all(text)
    return promises, reports


def page() -> Page:
    """The page; it hangs on no data."""
    promises, reports = claims()
    command = Column("command", "how to see it", "code")
    sentence = (
        f"{words.opening(words.count(len(promises), 'promise'))}, each with what was done to break "
        "it and the command that does it again, in a checkout of the project."
    )
    others = (
        f"{words.opening(words.count(len(reports), 'trouble'))} that other people reported of "
        "software that does such work, and how each comes out here."
    )
    blocks = (
        Block(
            "promises",
            "Promises",
            sentence,
            (
                Column("promise", "what is promised"),
                Column("attack", "what was done to break it"),
                Column("seen", "when it held"),
                command,
            ),
            promises,
        ),
        Block(
            "reports",
            "What others reported",
            others,
            (
                Column("trouble", "what others met"),
                Column("here", "how it comes out here"),
                Column("reported", "reported as, on GitHub"),
                command,
            ),
            reports,
        ),
    )
    return Page(KEY, TITLE, (sentence, others), blocks=blocks)
