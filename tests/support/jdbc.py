"""What a BI tool sees: the Thrift port through the Hive JDBC driver that pyspark brings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyspark
import yaml
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JJavaError

from lakehouse.engine.java import require_java
from lakehouse.settings import PROJECT, Settings
from tests.support.lakehouse import Lakehouse

# Where a tool's own clock is: it shows moments as they stand in UTC all the same.
ZONE = "Asia/Tokyo"


class Connection:
    """A connection to one home, as a tool's, in a JVM of its own.

    Args:
        gateway: The way to the JVM.
        port: The engine's Thrift port.
    """

    def __init__(self, gateway: JavaGateway, port: int) -> None:
        gateway.jvm.Class.forName("org.apache.hive.jdbc.HiveDriver")
        self._java = gateway.jvm.java.sql.DriverManager.getConnection(
            f"jdbc:hive2://127.0.0.1:{port}/gold;auth=noSasl", "a tool", ""
        )

    def columns(self, mart: str) -> list[tuple[str, str, str]]:
        """Name, type and comment of each column, in their order."""
        found = self._java.getMetaData().getColumns(None, "gold", mart, None)
        names = ("COLUMN_NAME", "TYPE_NAME", "REMARKS")
        return list(_rows(found, lambda: tuple(found.getString(name) for name in names)))

    def marts(self) -> list[str]:
        """The names of what a tool lists in `gold`."""
        found = self._java.getMetaData().getTables(None, "gold", "%", None)
        return list(_rows(found, lambda: found.getString("TABLE_NAME")))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Moments without a zone, as a tool shows them."""
        statement = self._java.createStatement()
        found = statement.executeQuery(sql)
        kinds = found.getMetaData()
        types = [kinds.getColumnTypeName(at).lower() for at in range(1, kinds.getColumnCount() + 1)]

        def row() -> tuple[Any, ...]:
            return tuple(_read(found, at, kind) for at, kind in enumerate(types, start=1))

        rows = list(_rows(found, row))
        statement.close()
        return rows


def _rows(found: Any, row: Any) -> Iterator[Any]:
    while found.next():
        yield row()


def _read(found: Any, at: int, kind: str) -> Any:
    value = found.getObject(at)
    if value is None:
        return None
    if kind == "timestamp":
        return datetime.fromisoformat(value.toString())
    return date.fromisoformat(value.toString()) if kind == "date" else value


@contextmanager
def connected(settings: Settings) -> Iterator[Connection]:
    """A connection to the engine of a home, which is up."""
    jars = Path(pyspark.__file__).parent / "jars"
    [py4j] = jars.glob("py4j-*.jar")
    port = launch_gateway(
        jarpath=str(py4j),
        classpath=str(jars / "*"),
        javaopts=["-Xmx256m", f"-Duser.timezone={ZONE}"],
        java_path=str(require_java().home / "bin" / "java"),
        die_on_exit=True,
    )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auto_convert=True))
    try:
        yield Connection(gateway, settings.port)
    except Py4JJavaError as error:  # whose words are in the JVM
        raise AssertionError(str(error)) from None
    finally:
        gateway.shutdown()


def what_differs(lakehouse: Lakehouse, marts: tuple[str, ...]) -> list[str]:
    """The marts that a BI tool sees otherwise than they are declared or than they are, a line each.

    Args:
        lakehouse: A home in which they are built.
        marts: Their names.
    """
    declared = _declared()
    lines = []
    with connected(lakehouse.settings) as tool:
        if missing := set(marts) - set(tool.marts()):
            lines.append(f"not listed: {', '.join(sorted(missing))}")
        for mart in marts:
            if (columns := tool.columns(mart)) != declared[mart]:
                lines.append(f"{mart}: {columns}, declared {declared[mart]}")
            rows = sorted(tool.rows(f"select * from gold.{mart}"), key=repr)
            known = sorted(map(_without_zone, lakehouse.rows(f"from gold.{mart}")), key=repr)
            if rows != known or not rows:
                lines.append(f"{mart}: {rows[:2]}, by Spark Connect {known[:2]}")
    return lines


def _without_zone(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(
        value.replace(tzinfo=None) if isinstance(value, datetime) else value
        for value in row.values()
    )


def _declared() -> dict[str, list[tuple[str, str, str]]]:
    """Of each mart name, type and description of its columns."""
    models = [
        model
        for file in PROJECT.glob("models/marts/*/_*__models.yml")
        for model in yaml.safe_load(file.read_text())["models"]
    ]
    return {
        model["name"]: [
            (column["name"], column["data_type"].upper(), column["description"].strip())
            for column in model["columns"]
        ]
        for model in models
    }
