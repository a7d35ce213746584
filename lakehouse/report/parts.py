"""What a page is made of, before it is HTML: sentences, and blocks of rows with their charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lakehouse.reading import Row

# How many rows a table shows, and how many a block takes into a page, 1 MB or less of them.
SHOWN, EMBEDDED = 20, 8_000


@dataclass(frozen=True)
class Column:
    """A column of a block.

    Attributes:
        name: Its key in the rows.
        title: Its name for readers.
        kind: `text`, `code`, `date`, `time` (UTC), `flag`, `count`, `share` (of 1), or `number`.
        unit: Of a number or count; it stands in the header.
        digits: Of a number, after the point.
    """

    name: str
    title: str
    kind: str = "text"
    unit: str = ""
    digits: int = 1

    @property
    def header(self) -> str:
        """The title with its unit."""
        unit = {"share": "%", "time": "UTC"}.get(self.kind, self.unit)
        return f"{self.title} ({unit})" if unit else self.title


@dataclass(frozen=True)
class Choice:
    """A list from which readers choose what a block's charts and table show.

    Attributes:
        column: The column whose value is chosen; its values are texts.
        label: What is chosen.
        options: The values to choose from, the first one chosen.
    """

    column: str
    label: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """A chart of a block's rows.

    Attributes:
        spec: The Vega-Lite specification; its rows are the data of the name `rows`.
        title: What it shows, in a few words.
    """

    spec: dict[str, Any]
    title: str


@dataclass(frozen=True)
class Block:
    """A part of a page that answers one question.

    Attributes:
        key: Its name in addresses and files.
        title: The question's subject.
        sentence: What the rows say.
        columns: The columns of the table and of the CSV file.
        rows: The rows, in the table's order; every column is a key of each.
        charts: What draws them.
        choice: What readers choose, if they do.
        left_out: What of the mart is not among the rows; empty where all is.
        charted: How many of the rows, from the first on, the charts draw.
    """

    key: str
    title: str
    sentence: str
    columns: tuple[Column, ...]
    rows: Sequence[Row]
    charts: tuple[Chart, ...] = ()
    choice: Choice | None = None
    left_out: str = ""
    charted: int = EMBEDDED


@dataclass(frozen=True)
class Page:
    """A page of the site.

    Attributes:
        key: Its file's name without `.html`.
        title: Its name.
        answer: The sentences that it opens with, the most urgent first.
        is_urgent: Whether the first of them asks somebody to act.
        blocks: Its parts; none where there is no data.
        freshness: How fresh the data is.
        refused: What was refused, in a sentence.
        hint: How to get data, command by command, where there is none.
    """

    key: str
    title: str
    answer: tuple[str, ...]
    is_urgent: bool = False
    blocks: tuple[Block, ...] = ()
    freshness: str = ""
    refused: str = ""
    hint: tuple[str, ...] = field(default=())
