"""Bronze and audit tables, and the one writer of bronze: Structured Streaming into Delta."""

from __future__ import annotations

import atexit
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the field's name for it
from pyspark.sql.streaming.query import StreamingQuery

from ingestion.declaration import SourceTable
from ingestion.stored import Place

METADATA_COLUMNS = {
    "_raw": "string",
    "_rescued": "string",
    "_source_file": "string",
    "_source_sha256": "string",
    "_ingested_at": "timestamp",
    "_load_id": "bigint",
}
AUDIT_TABLES = {
    "audit.loads": (
        "load_id bigint, source string, status string, num_rows bigint, message string, "
        "recorded_at timestamp"
    ),
    "audit.files": (
        "source string, name string, sha256 string, size_bytes bigint, num_rows bigint, "
        "status string, reason string, load_id bigint, recorded_at timestamp"
    ),
}
# Statistics on `_load_id` alone: it finds what is new, and no delivered value reaches the log.
_BRONZE_PROPERTIES = "'delta.dataSkippingStatsColumns' = '_load_id'"
# How often a query is asked how far it is.
_LOOK_SECONDS = 0.1


def connect(remote: str, engine: str, max_retries: int | None = None) -> SparkSession:
    """A Spark Connect session that every ingestion on one running engine shares.

    One session id for all, so that a later ingestion sees the queries that an earlier one, even a
    killed one, left running. The engine closes a session that nobody has used for long, stops what
    still runs in it and never opens its id again: then the next id is the one that all share.

    Args:
        remote: The engine's address, `sc://host:port`.
        engine: What tells this run of the engine from every other; the session ids come from it.
        max_retries: How often a question that does not get through is asked again; by default for
            ten minutes.
    """
    while True:
        number = _sessions_closed.setdefault(engine, 0)
        session_id = uuid.uuid5(uuid.NAMESPACE_URL, f"{engine} {number}")
        session = _session(f"{remote}/;user_id=ingestion;session_id={session_id}")
        if max_retries is not None:
            from pyspark.sql.connect.client.retries import (  # noqa: PLC0415 - it is loaded
                DefaultPolicy,
            )

            session.client.set_retry_policies([DefaultPolicy(max_retries=max_retries)])
            warnings.filterwarnings("ignore", message=r"\[RETRIES_EXCEEDED\]")  # an error says it
        if _is_open(session):
            return session
        _sessions_closed[engine] += 1


# How many sessions of each run of the engine this process knows to be closed.
_sessions_closed: dict[str, int] = {}
# The one session that this process has, by its address.
_session_of: dict[str, SparkSession] = {}


def _session(address: str) -> SparkSession:
    if address not in _session_of:
        # Left as it is, the last one would stay the one that pyspark takes where none is named.
        for last in _session_of.values():
            last.release_session_on_close = False  # type: ignore[attr-defined] # Connect's
            last.stop()
        _session_of.clear()
        session = _session_of[address] = SparkSession.builder.remote(address).create()
        # Else the client asks the server to clean up at exit, and waits minutes for one that is
        # down.
        atexit.register(session.client.close)
    return _session_of[address]


def _is_open(session: SparkSession) -> bool:
    """Asks the engine, which takes a millisecond or two."""
    try:
        session.conf.get("spark.app.name")
    except PySparkException as error:
        if error.getCondition() == "INVALID_HANDLE.SESSION_CLOSED":
            return False
        raise
    return True


def create_tables(spark: SparkSession, tables: list[SourceTable]) -> None:
    """Creates the schemas and tables that are not there yet, and the columns that bronze lacks."""
    for schema in ("bronze", "audit"):
        spark.sql(f"create schema if not exists {schema}")
    existing = {
        f"{schema}.{row['tableName']}"
        for schema in ("bronze", "audit")
        for row in spark.sql(f"show tables in {schema}").collect()
    }
    for name, ddl in AUDIT_TABLES.items():
        if name not in existing:
            spark.sql(f"create table if not exists {name} ({ddl}) using delta")
    for table in tables:
        columns = {column.name: column.data_type for column in table.columns} | METADATA_COLUMNS
        columns |= {column.name: column.data_type for column in table.technical}
        if table.bronze_name not in existing:
            spark.sql(
                f"create table if not exists {table.bronze_name} ({_ddl(columns)}) using delta "
                f"tblproperties ({_BRONZE_PROPERTIES})"
            )
            continue
        there = {name.lower() for name in spark.table(table.bronze_name).columns}
        if lacking := {name: of for name, of in columns.items() if name.lower() not in there}:
            spark.sql(f"alter table {table.bronze_name} add columns ({_ddl(lacking)})")


def _ddl(columns: Mapping[str, str]) -> str:
    return ", ".join(f"`{name}` {data_type}" for name, data_type in columns.items())


def rescued_names(spark: SparkSession, table: SourceTable, load_id: int) -> list[str]:
    """The delivered names of what a load's rows have in `_rescued`, sorted; 1,000 at most."""
    names = spark.sql(
        f"select distinct explode(json_object_keys(_rescued)) as name from {table.bronze_name} "
        f"where _load_id = {load_id} and _rescued is not null order by name limit 1000"
    )
    return [row["name"] for row in names.collect()]


@contextmanager
def interpreted(spark: SparkSession, *, is_wanted: bool) -> Iterator[None]:
    """Has the session, which others use too, interpret statements for a while.

    To compile them costs more than small work does.
    """
    modes = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}
    try:
        for key, mode in modes.items() if is_wanted else ():
            spark.conf.set(key, mode)
        yield
    finally:
        for key in modes if is_wanted else ():
            spark.conf.unset(key)


def record(spark: SparkSession, table: str, rows: list[tuple[object, ...]]) -> None:
    """Appends rows to a table of `AUDIT_TABLES`."""
    if rows:
        spark.createDataFrame(rows, AUDIT_TABLES[table]).writeTo(table).append()


def append(
    rows: DataFrame, table: SourceTable, checkpoint: Place, load_id: int, *, one_batch: bool = False
) -> StreamingQuery:
    """Starts to append all rows that the feed has now, and ends with them (`availableNow`).

    The sink writes each batch once (Delta's transaction id of query and batch), so a batch that a
    crash leaves committed in bronze but not in the checkpoint is not written again.

    Args:
        rows: A feed's stream: the declared columns, `_raw`, `_rescued`, `_source_file`,
            `_source_sha256`.
        table: The declared table.
        checkpoint: The folder in which the stream remembers what it has read, and its name.
        load_id: The number of the load, which every row of this run gets.
        one_batch: Only one batch, of the feed's size, is wanted: the query ends when `end` is
            called.
    """
    # `availableNow` ends after the last batch, `once` makes one of all. A period that never ends
    # begins with a batch, and has no next one that a stop would break off.
    trigger: dict[str, Any] = (
        {"processingTime": "365 days"} if one_batch else {"availableNow": True}
    )
    return (
        rows.withColumns(
            {
                "_ingested_at": F.current_timestamp(),
                "_load_id": F.lit(load_id).cast("bigint"),
            }
        )
        .writeStream.format("delta")
        .trigger(**trigger)
        .option("checkpointLocation", str(checkpoint))
        .queryName(checkpoint.name)
        .toTable(table.bronze_name)
    )


def end(query: StreamingQuery, patience: float = float("inf")) -> None:
    """Ends a query when it has written a batch, or has none to write.

    Args:
        query: The query; it may have ended.
        patience: How long it may take, in seconds; then it is stopped where it is.

    Raises:
        PySparkException: It has failed.
    """
    until = time.monotonic() + patience
    while query.isActive and not query.lastProgress and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
    query.stop()
    query.awaitTermination()
