"""A SQL warehouse that runs nothing: it answers what dbt asks, and keeps every statement.

It knows the columns and types that the project declares, what has been created, and the rows of
`audit.domains`; so a build goes all its way, the first and those after it. What a statement would
make of data it does not know: each key that is asked for has one value, each test finds nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

CATALOG = "main_test"
_VALUES = {
    "bigint": "7",
    "boolean": "true",
    "date": "2026-03-02",
    "double": "1.5",
    "int": "7",
    "string": "k",
    "timestamp": "2026-03-02 10:00:00",
}
# What dbt-databricks asks for itself: of relations, and of the columns of queries.
OF_DBT = re.compile(
    r"(describe (?!history)|show |select\b.*`?information_schema`?\.(?!`views`)|.*limit 0$)",
    re.IGNORECASE | re.DOTALL,
)

Answer = tuple[Sequence[tuple[str, str]], list[tuple[Any, ...]]]


@dataclass
class Statement:
    """A statement as it was sent, without dbt's comment; `node` is the id of the node it is for."""

    node: str
    sql: str


@dataclass
class Warehouse:
    """What there is, and what was asked.

    Attributes:
        manifest: The project, as `manifest.json` has it.
        load: The last load closed; every source took part in it.
        relations: The type of each table and view that there is, by schema and name.
        domains: The newest row of each domain in `audit.domains`.
        properties: Those of each table that has some, by schema and name.
        shown: The text of each view of the schema `gold`.
        statements: All that was sent.
    """

    manifest: dict[str, Any]
    load: int = 1
    relations: dict[tuple[str, str], str] = field(default_factory=dict)
    domains: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    properties: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    statements: list[Statement] = field(default_factory=list)

    def __post_init__(self) -> None:
        nodes = [
            *self.manifest["nodes"].values(),
            *self.manifest["sources"].values(),
        ]
        self.columns = {
            (node["schema"], node.get("alias") or node["identifier"]): {
                name: column["data_type"] for name, column in node["columns"].items()
            }
            for node in nodes
            if node["resource_type"] != "test"
        }
        self.types = {name: of for columns in self.columns.values() for name, of in columns.items()}
        self.relations |= {("audit", "loads"): "table"}
        for source in self.manifest["sources"].values():
            self.relations[source["schema"], source["identifier"]] = "table"

    def connect(self, **arguments: Any) -> Connection:
        """Takes the place of `databricks.sql.connect`."""
        self.arguments = arguments
        return Connection(self)

    def run(self, text: str, last_node: str) -> tuple[str, Answer]:
        """The node of a statement, and the columns [(name, type)] and rows that answer it."""
        comment, sql = re.fullmatch(r"(?:\s*/\*(.*?)\*/)?(.*)", text, re.DOTALL).groups()
        node = json.loads(comment).get("node_id", "") if comment else last_node
        sql = sql.strip()
        self.statements.append(Statement(node, sql))
        answer = self._answer(sql, node)
        self._note(sql)
        return node, answer

    def _note(self, sql: str) -> None:
        """Notes what a statement makes or drops."""
        made = re.match(
            r"create\s+(?:or replace\s+)?(table|view)(?: if not exists)?\s+(\S+)",
            sql,
            re.IGNORECASE,
        )
        if made:
            self.relations[self._key(made[2])] = made[1].lower()
            self.properties[self._key(made[2])] = _properties(sql)
        if added := re.match(r"alter table (\S+) add constraint (\w+) check \((.*)\)", sql, re.I):
            self.properties[self._key(added[1])][f"delta.constraints.{added[2]}"] = added[3]
        if dropped := re.match(r"drop (?:table|view)(?: if exists)?\s+(\S+)", sql, re.IGNORECASE):
            self.relations.pop(self._key(dropped[1]), None)
        shown = re.match(
            r"(?:create|alter) view \S+`gold`\.`(\w+)` .*?\bas (select .*)", sql, re.DOTALL
        )
        if shown:
            self.shown[shown[1]] = shown[2]
        row = re.match(
            r"insert into \S*domains`? values \('(\w+)', (\d+), (\w+), (\w+), '(.*)', '[^']*', cur",
            sql,
            re.DOTALL,
        )
        if row:
            built, published = (None if one == "null" else int(one) for one in row.groups()[2:4])
            state = re.sub(r"\\(.)", r"\1", row[5])
            self.domains[row[1]] = ("domain", row[1], int(row[2]), built, published, state)

    def _key(self, name: str) -> tuple[str, str]:
        """The schema and name of a relation as SQL spells it, with a catalog or without."""
        parts = name.replace("`", "").split(".")
        return (parts[-2] if len(parts) > 1 else "", parts[-1])

    def _columns(self, name: str, node: str) -> dict[str, str]:
        """The columns of a relation; a temporary one has those of the node that makes it."""
        schema, table = self._key(name)
        if (schema, table) in self.columns:
            return self.columns[schema, table]
        return self._columns_of(node) if table.endswith("__dbt_tmp") else {}

    def _columns_of(self, node: str) -> dict[str, str]:
        tested = self.manifest["unit_tests"].get(node)
        of = self.manifest["nodes"].get(tested["depends_on"]["nodes"][0] if tested else node)
        if of is None:
            return {}
        return {name: column["data_type"] for name, column in of["columns"].items()}

    def _answer(self, sql: str, node: str) -> Answer:
        """The answer of the first kind of question that the statement is, else none."""
        for question, answer in _ANSWERS:
            if found := re.search(question, sql, re.IGNORECASE | re.DOTALL):
                return answer(self, sql, node, found)
        return [("outcome", "string")], []

    def _tables(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        return _texts(
            "table_name", "table_type", "file_format", "table_owner", "databricks_table_type"
        ), [
            (name, kind, "delta" if kind == "table" else None, "dbt", None)
            for (schema, name), kind in self.relations.items()
            if schema == found[1]
        ]

    def _schemas(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        return _texts("databaseName"), [(name,) for name in {of for of, _ in self.relations}]

    def _views(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        return _texts("table_name", "view_definition"), list(self.shown.items())

    def _table_properties(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        return _texts("key", "value"), list(self.properties[self._key(found[1])].items())

    def _history(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        return [("version", "bigint")], [(self.load,)]

    def _number(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        return [("number", "bigint")], [(self.domains[found[1]][2],)]

    def _failures(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        return _texts("failures", "should_warn", "should_error"), [(0, False, False)]

    def _compared(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        return _texts(*self._columns_of(node), "actual_or_expected"), []

    def _described_as_json(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        columns = self._columns(found[1], node)
        told = {"columns": [{"name": one, "type": {"name": of}} for one, of in columns.items()]}
        return _texts("json_metadata"), [(json.dumps(told),)]

    def _described(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        rows = [(one, of, None) for one, of in self._columns(found[1], node).items()]
        rows += [("", "", ""), ("# Detailed Table Information", "", ""), ("Provider", "delta", "")]
        return _texts("col_name", "data_type", "comment"), rows

    def _shape(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        """The columns of a query: those of the node that asks."""
        columns = self._columns_of(node)
        if node.startswith("snapshot."):  # whose query has not yet what dbt adds
            added = re.compile(r"dbt_\w+|is_first_version|_load_id")
            columns = {name: of for name, of in columns.items() if not added.fullmatch(name)}
        return list(columns.items()), []

    def _state(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        rows: list[tuple[Any, ...]] = [("source", None, self.load, None, None, None)]
        for source in self.manifest["sources"].values():
            name = f"{source['source_name']}.{source['name']}"
            rows.append(("source", name, self.load, None, None, None))
        names = ("kind", "name", "number", "built", "published", "state")
        return _texts(*names), rows + list(self.domains.values())

    def _literals(self, sql: str, node: str, found: re.Match[str]) -> Answer:
        """One literal for each expression of which `literal_of` is asked."""
        head = re.split(r"\bfrom\b", sql)[0]
        expressions = _inside(head, "' as ', typeof(")
        names = re.findall(r"end as (\w+)", head)
        values: list[Any] = [self._literal(one, sql, node) for one in expressions]
        if re.match(r"select\s+null,", sql):
            values.insert(0, None)
        columns = names if len(names) == len(values) else [f"_c{n}" for n in range(len(values))]
        return _texts(*columns), [tuple(values)]

    def _literal(self, expression: str, sql: str, node: str) -> str:
        """A value of the type that a column has in the node, or else anywhere."""
        types = self.types | self._columns_of(node)
        for name in [*re.findall(r"\w+", expression), *re.findall(r"\w+", sql)]:
            if name in types:
                return f"cast('{_VALUES.get(types[name], '1')}' as {types[name]})"
        raise AssertionError(f"No column that is declared in: {sql}")


# What is answered to which question.
_ANSWERS: tuple[tuple[str, Callable[..., Answer]], ...] = (
    (r"`information_schema`\.`tables`.*table_schema = '(\w+)'", Warehouse._tables),
    (r"`information_schema`\.`views`", Warehouse._views),
    (r"^show schemas", Warehouse._schemas),
    (r"^show tblproperties (\S+)", Warehouse._table_properties),
    (r"^describe history ", Warehouse._history),
    (r"^describe table extended (\S+) as json$", Warehouse._described_as_json),
    (r"^describe (?:table )?(?:extended )?(\S+)$", Warehouse._described),
    (r"^select\s+'source' as kind", Warehouse._state),
    (r"^select max\(number\).*domain = '(\w+)'", Warehouse._number),
    (r"^select\b.*' as ', typeof\(", Warehouse._literals),
    (r"\bas failures\b", Warehouse._failures),
    (r"\bas `?actual_or_expected\b", Warehouse._compared),
    (r"where false\s+limit 0$", Warehouse._shape),
)


def _texts(*names: str) -> list[tuple[str, str]]:
    """Columns whose type nobody asks for."""
    return [(name, "string") for name in names]


def _properties(created: str) -> dict[str, str]:
    """The properties of a table by the statement that creates it."""
    head = re.split(r"\n\s*as\n", created)[0]
    found = dict(re.findall(r"'([\w.]+)' = '([^']*)'", head))
    if clustered := re.search(r"cluster by \((.*)\)", head):
        found["clusteringColumns"] = json.dumps(
            [[name] for name in clustered[1].split(", ")], separators=(",", ":")
        )
    return found


def _inside(text: str, opening: str) -> list[str]:
    """What stands between each `opening`, which ends in a bracket, and that bracket's end."""
    found = []
    for part in text.split(opening)[1:]:
        depth = 1
        for end, sign in enumerate(part):
            depth += (sign == "(") - (sign == ")")
            if depth == 0:
                found.append(part[:end])
                break
    return found


class Connection:
    """A session of the warehouse, as the SQL connector has it."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.warehouse = warehouse
        self.node = ""

    def cursor(self) -> Cursor:
        return Cursor(self)

    def get_session_id_hex(self) -> str:
        return "00"

    def close(self) -> None:
        pass


class Cursor:
    """A cursor of the connector: what dbt-databricks uses of it."""

    query_id = "0"

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.description: list[tuple[str, str]] | None = None
        self.rows: list[tuple[Any, ...]] = []

    def execute(self, sql: str, parameters: Any = None) -> Cursor:
        of = self.connection
        of.node, (columns, self.rows) = of.warehouse.run(sql, of.node)
        self.description = list(columns)
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self.rows

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        return self.rows[:size]

    def fetchone(self) -> tuple[Any, ...] | None:
        return self.rows[0] if self.rows else None

    def close(self) -> None:
        pass

    def cancel(self) -> None:
        pass
