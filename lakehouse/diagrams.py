"""The entity diagram of a domain: its tables, their keys, and what they refer to.

manifest --entities_of--> tables and references --page_of--> one page, drawn without a network

A model says in its YAML what it refers to, by columns that bear the same name there:
`config: {meta: {refers_to: {<model>: [<column>, ...]}}}`. Its key is what its test holds it to.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import networkx as nx
from jinja2 import Environment

# What a diagram is drawn with, in pixels.
_WIDTH, _GAP, _ROW, _HEAD, _MARGIN = 330, 100, 22, 32, 24
_SWEEPS = 4
_LAYERS = {"marts": "gold", "intermediate": "silver", "seeds": "lookup", "snapshots": "history"}


@dataclass
class Entity:
    """A table of the diagram.

    Attributes:
        unique_id: As the manifest has it.
        name: Its name.
        layer: gold, silver, lookup or history.
        columns: The name and type of each, without those that tell of the data.
        key: The columns of its key; empty where no test tells it.
        refers_to: Per table, the columns that tell which row of it is meant.
    """

    unique_id: str
    name: str
    layer: str
    columns: list[tuple[str, str]]
    key: list[str]
    refers_to: dict[str, list[str]]

    def told_by(self, column: str) -> list[str]:
        """The tables that a column refers to."""
        return [table for table, columns in self.refers_to.items() if column in columns]

    @property
    def kind(self) -> str:
        """model, seed or snapshot."""
        return self.unique_id.split(".")[0]

    @property
    def height(self) -> int:
        """Of its head and its columns, in pixels."""
        return _HEAD + _ROW * len(self.columns) + 2


def entities_of(manifest: dict[str, Any], domain: str) -> list[Entity]:
    """The tables of a domain that refer to one, and those that are referred to.

    Args:
        manifest: dbt's manifest.json.
        domain: The domain's name.
    """
    keys = _keys(manifest["nodes"].values())
    found = {
        node["name"]: Entity(
            unique_id=node["unique_id"],
            name=node["name"],
            layer=_LAYERS.get(node["original_file_path"].split("/")[1], "lookup"),
            columns=[
                (column["name"], column["data_type"] or "")
                for column in node["columns"].values()
                if not column["name"].startswith(("_", "dbt_"))
            ],
            key=keys.get(node["unique_id"], []),
            refers_to=node["config"]["meta"].get("refers_to", {}),
        )
        for node in manifest["nodes"].values()
        if node["resource_type"] in ("model", "seed", "snapshot")
        and node["config"]["meta"].get("domain") == domain
    }
    named = {table for entity in found.values() for table in entity.refers_to}
    return [entity for name, entity in found.items() if entity.refers_to or name in named]


def _keys(nodes: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Per node the shortest key that a test holds it to."""
    keys: dict[str, list[str]] = {}
    for node in nodes:
        test = node.get("test_metadata") or {}
        if test.get("name") in ("grain", "unique"):
            key = test["kwargs"].get("key") or [test["kwargs"]["column_name"]]
            known = keys.setdefault(node["attached_node"], key)
            keys[node["attached_node"]] = min(known, key, key=len)
    return keys


@dataclass
class _Slot:
    """A place in a column: a table's, or where an arrow passes between tables.

    Attributes:
        left: Where it begins, in pixels.
        top: Where it begins, in pixels.
        height: How high it is, in pixels.
    """

    height: int
    left: int = 0
    top: int = 0

    @property
    def middle(self) -> float:
        return self.top + self.height / 2


def _place(entities: list[Entity]) -> tuple[dict[Any, _Slot], int, int]:
    """Gives each table its place: left those that refer to nothing, right those that refer to them.

    Returns:
        The place of each table, and of each arrow from one to another in each column that it
        crosses, `(<from>, <to>, <column>)`; the width and height of the whole, in pixels.
    """
    references = nx.DiGraph()
    references.add_nodes_from(sorted(entity.name for entity in entities))
    references.add_edges_from(
        (table, entity.name) for entity in entities for table in entity.refers_to
    )
    level = {
        name: number
        for number, names in enumerate(nx.topological_generations(references))
        for name in names
    }
    slots: dict[Any, _Slot] = {entity.name: _Slot(entity.height) for entity in entities}
    joined = nx.Graph()
    joined.add_nodes_from(references)
    for table, name in references.edges:
        crossed = [(name, table, number) for number in range(level[table] + 1, level[name])]
        slots |= {crossing: _Slot(0) for crossing in crossed}
        level |= {crossing: crossing[2] for crossing in crossed}
        nx.add_path(joined, [table, *crossed, name])
    columns = [
        [key for key in joined if level[key] == number] for number in range(max(level.values()) + 1)
    ]
    height = max(sum(slots[key].height + _MARGIN for key in column) for column in columns)
    for sweep in range(_SWEEPS):  # each next to the middle of what it is joined with
        for column in columns[:: 1 if sweep % 2 == 0 else -1]:
            if sweep:
                column.sort(
                    key=lambda key: statistics.fmean(
                        slots[one].middle for one in joined[key] or [key]
                    )
                )
            space = (height - sum(slots[key].height for key in column)) // (len(column) + 1)
            top = space
            for key in column:
                slots[key].left = _MARGIN + level[key] * (_WIDTH + _GAP)
                slots[key].top = top
                top += slots[key].height + space
    width = 2 * _MARGIN + len(columns) * (_WIDTH + _GAP) - _GAP
    return slots, width, height


def _line(entity: Entity, to: Entity, slots: dict[Any, _Slot]) -> str:
    """The path from a table's first column of a reference to that column of the other."""
    first = entity.refers_to[to.name][0]

    def height_of(one: Entity) -> float:
        row = [name for name, _ in one.columns].index(first)
        return slots[one.name].top + _HEAD + _ROW * (row + 0.5)

    x, y = slots[entity.name].left, height_of(entity)
    crossed = sorted(
        (key for key in slots if key[:2] == (entity.name, to.name)), key=lambda key: -key[2]
    )
    path = f"M{x} {y}"
    for left, height in [
        *((slots[key].left, slots[key].top) for key in crossed),
        (slots[to.name].left, height_of(to)),
    ]:
        right, bend = left + _WIDTH, _GAP * 0.6
        path += f"C{x - bend} {y} {right + bend} {height} {right} {height}"
        if left != slots[to.name].left:
            path += f"H{left}"
        x, y = left, height
    return path


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ domain }}: what refers to what</title>
<style>
:root { color-scheme: light dark; --ink: #1c2430; --soft: #566072; --paper: #f5f6f8;
  --card: #fff; --line: #c3c9d4; --edge: #56698f; --gold: #f7e3ae; --silver: #dde3ec;
  --lookup: #d9eadb; --history: #e8deef; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebf1; --soft: #aab3c2; --paper: #14181f;
  --card: #1e242e; --line: #3c4656; --edge: #8fa3cc; --gold: #5c4a17; --silver: #36404f;
  --lookup: #2c4a33; --history: #473456; } }
body { margin: 0; padding: 1rem; font: 14px/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper); }
a { color: inherit; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
p { max-width: 46rem; margin: 0 0 .75rem; }
.kind { padding: 0 .5em; border-radius: 3px; color: var(--ink); }
.gold { background: var(--gold); } .silver { background: var(--silver); }
.lookup { background: var(--lookup); } .history { background: var(--history); }
.drawing { overflow-x: auto; }
.plane { position: relative; }
svg { position: absolute; inset: 0; }
path { fill: none; stroke: var(--edge); stroke-width: 1.5; }
marker path { fill: var(--edge); stroke: none; }
table { position: absolute; border-collapse: collapse; table-layout: fixed;
  border: 1px solid var(--line); background: var(--card); font-size: 13px; }
caption { height: {{ head }}px; line-height: {{ head }}px; padding: 0 8px; box-sizing: border-box;
  border: 1px solid var(--line); border-bottom: 0; font-weight: 600; text-align: left;
  white-space: nowrap; }
caption a { text-decoration: none; }
caption a:hover, caption a:focus { text-decoration: underline; }
th, td { height: {{ row }}px; padding: 0 8px; box-sizing: border-box; line-height: {{ row - 1 }}px;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; text-align: left;
  font-weight: 400; }
td { color: var(--soft); width: 8.5em; text-align: right; }
.is-key th { font-weight: 700; text-decoration: underline; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
@media (max-width: 700px) { /* the tables one below the other, and words for the arrows */
  .plane { width: auto !important; height: auto !important; }
  svg { display: none; }
  table { position: static; width: 100% !important; margin-bottom: 1rem; }
  th { white-space: normal; }
  .to { position: static; display: inline-block; width: 100%; height: auto; clip-path: none;
    font-weight: 400; color: var(--edge); }
}
</style>
</head>
<body>
<main>
<h1>{{ domain }}: what refers to what</h1>
<p><a href="index.html">The docs</a> tell of each table. An arrow goes from a table to the one of
which its column names a row. The key is bold and underlined.
{% for layer in layers %}<span class="kind {{ layer }}">{{ layer }}</span> {% endfor %}</p>
<div class="drawing" tabindex="0" role="region" aria-label="The tables of {{ domain }}">
<div class="plane" style="width: {{ width }}px; height: {{ height }}px">
<svg width="{{ width }}" height="{{ height }}" aria-hidden="true">
<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8"
  orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>
{% for line in lines %}<path d="{{ line }}" marker-end="url(#end)"/>
{% endfor %}</svg>
{% for entity in entities %}
{% set slot = slots[entity.name] %}
<table style="left: {{ slot.left }}px; top: {{ slot.top }}px; width: {{ card }}px">
<caption class="{{ entity.layer }}">
<a href="index.html#!/{{ entity.kind }}/{{ entity.unique_id }}">{{ entity.name }}</a>
<span class="hidden">({{ entity.layer }})</span>
</caption>
<tbody>
{% for name, type in entity.columns %}
<tr{% if name in entity.key %} class="is-key"{% endif %}><th scope="row">{{ name }}
  {%- if name in entity.key %}<span class="hidden"> (key)</span>{% endif %}
  {%- for table in entity.told_by(name) %}<span class="hidden to"> refers to {{ table }}</span>
  {%- endfor %}</th><td>{{ type }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endfor %}
</div>
</div>
</main>
</body>
</html>
"""


def page_of(domain: str, entities: list[Entity]) -> str:
    """The diagram as an HTML page that lies beside dbt's docs and loads nothing.

    Args:
        domain: The domain's name.
        entities: Its tables, as `entities_of` gives them.
    """
    slots, width, height = _place(entities)
    by_name = {entity.name: entity for entity in entities}
    lines = [
        _line(entity, by_name[table], slots) for entity in entities for table in entity.refers_to
    ]
    layers = dict.fromkeys(entity.layer for entity in entities)
    return (
        Environment(autoescape=True)
        .from_string(_PAGE)
        .render(
            **{
                "domain": domain,
                "entities": entities,
                "lines": lines,
                "layers": sorted(layers),
                "slots": slots,
            },
            **{"width": width, "height": height, "card": _WIDTH, "head": _HEAD, "row": _ROW},
        )
    )
