"""The page for the sceptic: what is promised, what was done to break it, and how to do it again."""

from __future__ import annotations

from importlib.resources import files

import yaml

from lakehouse.reading import Row
from lakehouse.report import words
from lakehouse.report.parts import Block, Column, Page

KEY, TITLE = "proof", "Proof"


def claims() -> list[Row]:
    """The claims, a row each: `promise`, `attack`, `seen` (when it was last run), `command`."""
    text = files("lakehouse.report").joinpath("proof.yml").read_text(encoding="utf-8")
    rows: list[Row] = yaml.safe_load(text)
    return rows


def page() -> Page:
    """The page; it hangs on no data."""
    rows = claims()
    columns = (
        Column("promise", "what is promised"),
        Column("attack", "what was done to break it"),
        Column("seen", "when it held"),
        Column("command", "how to see it"),
    )
    sentence = (
        f"{words.opening(words.count(len(rows), 'promise'))}, each with what was done to break it "
        "and the command that does it again, in a checkout of the project."
    )
    block = Block("promises", "Promises", sentence, columns, rows)
    return Page(KEY, TITLE, (sentence,), blocks=(block,))
