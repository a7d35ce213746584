"""Pages as HTML, and their rows as CSV.

Everything that a page needs is in it: no request leaves it. Its rows are JSON in a script that is
none, of which no `<` can end it; a policy lets nothing run but the two scripts it names by hash.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import vl_convert as vlc
from markupsafe import Markup

from lakehouse.reading import Row
from lakehouse.report import words
from lakehouse.report.parts import EMBEDDED, SHOWN, Block, Column, Page

_TEMPLATES = Path(__file__).parent / "templates"
_RIGHT = ("count", "share", "number")
# What a spreadsheet takes for the beginning of a formula, in letters of full width too.
_SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = (*_SIGNS, *"\t\r\n")
# Where a spreadsheet begins a cell whose countries have semicolons between cells: quotes that begin
# within a cell are none to it.
_CELL_WITHIN = re.compile(rf"([;\r\n]\s*)(?=[{re.escape(_SIGNS)}])")


def html(page: Page, links: Sequence[tuple[str, str]], *, cards: Sequence[Page] = ()) -> str:
    """A page as HTML.

    Args:
        page: The page.
        links: Of the site's other pages: address and name.
        cards: Pages whose answers it shows.
    """
    bundle = _bundle() if any(block.charts for block in page.blocks) else Markup()
    script, style = _own("page.js"), _own("style.css")
    template = _environment().get_template("page.html.j2")
    return template.render(
        page=page,
        links=links,
        cards=cards,
        bundle=bundle,
        script=script,
        style=style,
        policy=_policy([text for text in (bundle, script) if text]),
    )


def csv_of(block: Block) -> str:
    """All rows of a block; what a spreadsheet would take for a formula begins with `'`."""
    file = io.StringIO()
    # So it quotes what holds either.
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow([column.name for column in block.columns])
    for row in block.rows:
        writer.writerow([_harmless(row[column.name]) for column in block.columns])
    return file.getvalue()


def _harmless(value: object) -> object:
    if not isinstance(value, str):
        return value
    begins = "'" if value.lstrip(" ").startswith(_FORMULA) else ""
    return begins + _CELL_WITHIN.sub(r"\1'", value)


def data_of(block: Block) -> dict[str, Any]:
    """What a page's script needs of a block, in values that JSON has."""
    drawn = list(block.rows[: min(block.charted, EMBEDDED)])
    names = list(dict.fromkeys(name for row in drawn for name in row))
    times = {column.name for column in block.columns if column.kind == "time"}
    return {
        "columns": names,
        "rows": [
            [
                words.machine_moment(row[name]) if name in times and row[name] else row[name]
                for name in names
            ]
            for row in drawn
        ],
        "cells": [column.name for column in block.columns],
        "kinds": {
            column.name: {"kind": column.kind, "digits": column.digits} for column in block.columns
        },
        "choice": block.choice and block.choice.column,
        "specs": [chart.spec for chart in block.charts],
        "shown": SHOWN,
    }


def _json(value: object) -> Markup:
    """JSON that can stand in a script element: nothing in it is a tag or the end of one."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(text)  # noqa: S704 - escaped just now


def _shown_rows(block: Block) -> list[Row]:
    """The rows that the table shows; of a choice, those of the first one."""
    rows = list(block.rows)
    if choice := block.choice:
        return [row for row in rows if row[choice.column] == choice.options[0]]
    return rows[:SHOWN]


def _side(column: Column) -> str:
    return "figure" if column.kind in _RIGHT else "time" if column.kind == "time" else "word"


def _policy(scripts: list[str]) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'"
    )


@cache
def _bundle() -> Markup:
    """Vega, Vega-Lite and Vega-Embed with the interpreter, as one script."""
    text = vlc.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return Markup(f"{{{text}}}")  # noqa: S704 - the package's own


def _own(name: str) -> Markup:
    """A file of this package, as it is."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 - our own


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "json_of": _json,
        "data_of": data_of,
        "shown_rows": _shown_rows,
        "cell": words.cell,
        "side": _side,
        "number": words.number,
        "count": words.count,
    }
    return environment
