"""Which columns each column of a model comes from, read out of the models' SQL.

manifest with compiled SQL --lineage_of--> {model: {column: [source column, ...]}}
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.lineage import Node, lineage
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import build_scope

# From the least to the most that is done to a value on its way.
_PASSED, _DERIVED, _AGGREGATED = range(3)
_NAMES = ("passthrough", "derived", "aggregated")

Lineage = dict[str, dict[str, list[dict[str, str]]]]


def lineage_of(manifest: dict[str, Any]) -> Lineage:
    """The columns that each column of a model is worked out from, directly.

    What a row is chosen, joined or ordered by is not among them. A column that comes from none (a
    literal) is left out, and so is one whose SQL cannot be followed.

    Args:
        manifest: dbt's manifest.json, with the compiled SQL of the models.

    Returns:
        Per model's id and column the `source_model` (an id), the `source_column`, and the
        `transformation`: passthrough, derived or aggregated.
    """
    tables = {
        (node["schema"], node.get("identifier") or node["alias"]): node
        for node in (*manifest["nodes"].values(), *manifest["sources"].values())
        if node["resource_type"] in ("model", "seed", "snapshot", "source")
    }
    schema: dict[str, object] = {}
    for (name, table), node in tables.items():
        columns = {column["name"]: column["data_type"] for column in node["columns"].values()}
        schema.setdefault(name, {})[table] = columns  # type: ignore[index]
    logging.getLogger("sqlglot").setLevel(logging.ERROR)  # it tells of each that it cannot follow
    found: Lineage = {}
    for unique_id, node in manifest["nodes"].items():
        if node["resource_type"] == "model" and node.get("compiled_code"):
            found[unique_id] = dict(_columns_of(node, schema, tables))
    return found


def _columns_of(
    node: dict[str, Any], schema: dict[str, object], tables: dict[tuple[str, str], Any]
) -> Iterator[tuple[str, list[dict[str, str]]]]:
    try:
        query = qualify(
            sqlglot.parse_one(node["compiled_code"], dialect="spark"),
            dialect="spark",
            schema=schema,
            validate_qualify_columns=False,
            identify=False,
        )
    except SqlglotError:
        return
    scope = build_scope(query)
    for column in node["columns"]:
        try:
            root = lineage(
                column, query, dialect="spark", scope=scope, trim_selects=False, copy=False
            )
        except (SqlglotError, ValueError, IndexError):  # of a function that makes several columns
            continue
        kinds: dict[tuple[str, str], int] = {}
        for table, name, kind in _leaves(root, _PASSED):
            if source := tables.get((table.db, table.name)):
                key = source["unique_id"], name
                kinds[key] = max(kind, kinds.get(key, kind))
        if kinds:
            yield (
                column,
                [
                    {"source_model": model, "source_column": name, "transformation": _NAMES[kind]}
                    for (model, name), kind in sorted(kinds.items())
                ],
            )


def _leaves(node: Node, kind: int) -> Iterator[tuple[exp.Table, str, int]]:
    """The columns of tables that a column comes from, and the most that is done on the way."""
    if isinstance(node.source, exp.Table):
        yield node.source, node.name.rpartition(".")[2], kind
    kind = max(kind, _kind_of(node.expression))
    for below in node.downstream:
        yield from _leaves(below, kind)


def _kind_of(expression: exp.Expression) -> int:
    value = expression.this if isinstance(expression, exp.Alias) else expression
    if isinstance(value, (exp.Column, exp.Table)):
        return _PASSED
    return _AGGREGATED if value.find(exp.AggFunc) else _DERIVED
