"""The `lakehouse` command: the local engine, rounds of ingest and build, and questions to both.

In Python, `read` gives the rows of a table or of a statement.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


def read(what: str) -> pa.Table:
    """The rows of a table or view, `<schema>.<name>`, or of a statement, as an Arrow table.

    Of the home in `LAKEHOUSE_HOME`, whose engine is started where need be. Decimals keep their
    digits, moments are in UTC. All rows come into memory: sum up in the statement where that is
    much.

    Raises:
        LakehouseError: The engine cannot be started.
        PySparkException: There is no such table, or the statement cannot be run.
    """
    from lakehouse.engine import local  # noqa: PLC0415 - the command needs no engine for most
    from lakehouse.settings import load_settings  # noqa: PLC0415

    session = local.session(load_settings())
    is_name = all(part.isidentifier() for part in what.split("."))
    return (session.table(what) if is_name else session.sql(what)).toArrow()
