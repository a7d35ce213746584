"""The exercise's own way to a live answer, to be measured against: three streams with 5 s triggers.

    inbox --append--> connections_bz --MERGE--> connections --MERGE--> server_load

    python -m benchmarks.live_peer --home DIR

As its notebooks describe it, in our own words: plain, with its mistakes (a watermark that drops
late events, sessions that nobody counts). On the Spark and the Delta of the engine, with its
settings, in a classic session of this process, whose tables readers reach over Thrift. It says
`ready` once gold holds what lay in the inbox, and goes on until its standard input ends.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.streaming.query import StreamingQuery

from benchmarks.peer import EVERY, LATENESS, insert_new, session
from generators.network.tables import CONNECTIONS
from ingestion.home import Home
from lakehouse.engine.process import HOST
from lakehouse.settings import Settings

NEWEST = "select *, unix_micros(last_event_at) from peer.server_load"
DELIVERED = (
    "event_id bigint, session_id bigint, device_id bigint, server_id bigint, event_type string, "
    "event_at timestamp, asked_mbps double, received_mbps double, bytes bigint"
)
TABLES = {
    "connections_bz": f"{DELIVERED}, load_time timestamp, source_file string",
    "connections": DELIVERED,
    "server_load": "server_id bigint, window_start timestamp, devices_connected bigint, "
    "bandwidth_used_mbps double, last_event_at timestamp",
}
MERGES = {
    "connections": insert_new("event_id", "event_at"),
    "server_load": "batch s on t.server_id = s.server_id and t.window_start = s.window_start "
    "when matched then update set * when not matched then insert *",
}


def connections_bz(spark: SparkSession, home: Home) -> DataFrame:
    """Events as delivered."""
    folder = home.inbox / CONNECTIONS
    files = spark.readStream.schema(DELIVERED).option("recursiveFileLookup", "true")
    return (
        files.parquet(str(folder))
        .withColumn("load_time", F.current_timestamp())
        .withColumn("source_file", F.col("_metadata.file_path"))
    )


def connections(spark: SparkSession) -> DataFrame:
    """Events, each once."""
    return (
        spark.readStream.table("connections_bz")
        .drop("load_time", "source_file")
        .withColumn("event_type", F.lower(F.trim("event_type")))
        .withWatermark("event_at", LATENESS)
        .dropDuplicates(["event_id", "event_at"])
    )


def server_load(spark: SparkSession) -> DataFrame:
    """A row for each server and 5 minutes, again whenever it changes."""
    return (
        spark.readStream.table("connections")
        .withWatermark("event_at", LATENESS)
        .groupBy("server_id", F.window("event_at", "5 minutes"))
        .agg(
            # A stream cannot count what is distinct.
            F.size(F.collect_set("device_id")).cast("bigint").alias("devices_connected"),
            F.avg("received_mbps").alias("bandwidth_used_mbps"),
            F.max("event_at").alias("last_event_at"),
        )
        .withColumn("window_start", F.col("window.start"))
        .drop("window")
    )


def start(table: str, rows: DataFrame, home: Home) -> StreamingQuery:
    """Starts the stream into a table: by a MERGE, or else by appending."""

    def merge(batch: DataFrame, _: int) -> None:
        batch.createOrReplaceTempView("batch")
        batch.sparkSession.sql(f"merge into {table} t using {MERGES[table]}")

    writer = (
        rows.writeStream.queryName(table)
        .option("checkpointLocation", str(home.checkpoints / table))
        .trigger(processingTime=EVERY)
    )
    if table in MERGES:
        return writer.outputMode("update").foreachBatch(merge).start()
    return writer.toTable(table, format="delta")


def open_to_readers(spark: SparkSession) -> None:
    """Has the session's own JVM answer over Thrift."""
    thrift = spark._jvm.org.apache.spark.sql.hive.thriftserver  # type: ignore[union-attr]
    thrift.HiveThriftServer2.startWithSparkSession(spark._jsparkSession, False)


def main() -> None:
    """Runs the streams until standard input ends; status 1 if one of them had failed by then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="Its inbox has the files.")
    settings = Settings(home=parser.parse_args().home.absolute())
    home = settings.paths
    # The engine's settings name them, and nobody else makes them.
    for folder in ("tmp", "hive-local"):
        (home.root / "scratch" / folder).mkdir(parents=True, exist_ok=True)
    # A server that is begun from a session heeds these alone, and none of Hive's settings.
    os.environ |= {
        "HIVE_SERVER2_THRIFT_PORT": str(settings.port),
        "HIVE_SERVER2_THRIFT_BIND_HOST": HOST,
    }
    spark = session(home.root, tuned=True)
    spark.sql("create database if not exists peer")
    spark.catalog.setCurrentDatabase("peer")
    for name, columns in TABLES.items():
        spark.sql(f"create table if not exists {name} ({columns}) using delta")
    open_to_readers(spark)
    queries = [
        start("connections_bz", connections_bz(spark, home), home),
        start("connections", connections(spark), home),
        start("server_load", server_load(spark), home),
    ]
    for query in queries:
        query.processAllAvailable()
    print("ready", flush=True)
    sys.stdin.read()
    has_failed = not all(query.isActive for query in queries)
    for query in queries:
        query.stop()
    spark.stop()
    sys.exit(has_failed)


if __name__ == "__main__":
    main()
