"""The exercise's own chain, to be measured against: foreachBatch and MERGE from bronze to gold.

    python -m benchmarks.peer --source DIR --home DIR

As its notebooks describe it, in our own words: plain, with its mistakes (a watermark that drops
late events, `rank() = 1`, ages of today, an append-mode summary that keeps its last session to
itself), but with exact timestamps. On the Spark and the Delta of the engine, in a classic session
of this process; with Spark's own settings, as it was published, or with the engine's.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812
from pyspark.sql.streaming.query import StreamingQuery

from lakehouse.engine.jars import spark_home, verified_jars
from lakehouse.engine.java import require_java
from lakehouse.engine.process import HOST, spark_conf
from lakehouse.settings import Settings

GOLD = ("workout_bpm_summary", "gym_summary")
NOT_HERE = ("spark.master", "spark.plugins", "spark.connect.")
NOT_AS_IT_COMES = (
    *NOT_HERE,
    "spark.driver.extraJavaOptions",
    "spark.sql.shuffle.",
    "spark.sql.optimizer.",
    "spark.sql.parquet.",
    "spark.sql.sources.",
    "spark.databricks.",
)
LATENESS = "30 seconds"
EVERY = "5 seconds"

TABLES = {
    "registered_users_bz": "user_id bigint, device_id bigint, mac_address string, "
    "registration_timestamp double, load_time timestamp, source_file string",
    "gym_logins_bz": "mac_address string, gym bigint, login double, logout double, "
    "load_time timestamp, source_file string",
    "kafka_multiplex_bz": "key string, value string, topic string, partition bigint, "
    "offset bigint, timestamp bigint, load_time timestamp, source_file string, date date, "
    "week_part string",
    "users": "user_id bigint, device_id bigint, mac_address string, registered timestamp",
    "gym_logs": "mac_address string, gym bigint, login timestamp, logout timestamp",
    "user_profile": "user_id bigint, dob date, sex string, gender string, first_name string, "
    "last_name string, street_address string, city string, state string, zip int, "
    "updated timestamp",
    "workouts": "user_id bigint, workout_id bigint, session_id bigint, action string, "
    "time timestamp",
    "heart_rate": "device_id bigint, time timestamp, heartrate double, valid boolean",
    "user_bins": "user_id bigint, age string, gender string, city string, state string, "
    "updated timestamp",
    "completed_workouts": "user_id bigint, workout_id bigint, session_id bigint, "
    "start_time timestamp, end_time timestamp",
    "workout_bpm": "user_id bigint, workout_id bigint, session_id bigint, start_time timestamp, "
    "end_time timestamp, time timestamp, heartrate double",
    "workout_bpm_summary": "user_id bigint, workout_id bigint, session_id bigint, age string, "
    "gender string, city string, state string, num_bpm bigint, min_bpm double, avg_bpm double, "
    "max_bpm double",
}
PARTITIONED = {"kafka_multiplex_bz": "partitioned by (topic, week_part)"}

USER_INFO = (
    "user_id bigint, update_type string, timestamp double, dob string, sex string, gender string, "
    "first_name string, last_name string, "
    "address struct<street_address: string, city: string, state: string, zip: int>"
)
WORKOUT = "user_id bigint, workout_id bigint, session_id bigint, action string, timestamp double"
BPM = "device_id bigint, time double, heartrate double"

YEARS = "floor(months_between(current_date(), dob) / 12)"
BAND = f"""case
    when {YEARS} < 18 then 'under 18' when {YEARS} < 25 then '18-25' when {YEARS} >= 95 then '95+'
    else concat(
        25 + 10 * floor(({YEARS} - 25) / 10), '-', 35 + 10 * floor(({YEARS} - 25) / 10)
    )
end as age"""

GYM_SUMMARY = """
create or replace view gym_summary as
select
    to_date(v.login) as date,
    v.gym,
    v.mac_address,
    w.workout_id,
    w.session_id,
    round(timestampdiff(second, v.login, v.logout) / 60, 2) as minutes_in_gym,
    round(timestampdiff(second, w.start_time, w.end_time) / 60, 2) as minutes_exercising
from gym_logs as v
inner join users as u on v.mac_address = u.mac_address
inner join completed_workouts as w
    on u.user_id = w.user_id and w.start_time between v.login and v.logout
"""


def insert_new(*keys: str) -> str:
    """The end of a MERGE that inserts the rows whose keys the table does not hold."""
    same = " and ".join(f"t.{key} = s.{key}" for key in keys)
    return f"batch s on {same} when not matched then insert *"


LATEST = """(
    select * except (place) from (
        select *, rank() over (partition by user_id order by updated desc) as place from batch
    ) where place = 1
) s on t.user_id = s.user_id
when matched and t.updated < s.updated then update set * when not matched then insert *"""

SESSION = ("user_id", "workout_id", "session_id")
MERGES = {
    "users": insert_new("user_id", "device_id"),
    "gym_logs": insert_new("mac_address", "gym", "login"),
    "user_profile": LATEST,
    "workouts": insert_new("user_id", "time"),
    "heart_rate": insert_new("device_id", "time"),
    "user_bins": LATEST,
    "completed_workouts": insert_new(*SESSION),
    "workout_bpm": insert_new(*SESSION, "time"),
    "workout_bpm_summary": insert_new(*SESSION),
}
# What runs side by side, and what has to wait for it.
LAYERS = {
    "bronze": (("registered_users_bz", "gym_logins_bz", "kafka_multiplex_bz"),),
    "silver": (
        ("users", "gym_logs", "user_profile", "workouts", "heart_rate"),
        ("user_bins", "completed_workouts"),
        ("workout_bpm",),
    ),
    "gold": (("workout_bpm_summary",),),
}


def session(home: Path, *, tuned: bool) -> SparkSession:
    """The session of this process; its first home holds the metastore.

    Args:
        home: The home.
        tuned: Whether Spark is set as our engine is, or left as it comes. The published run left it
            so: the checkpoints in raviteja147/CardioStream have states of more than 180 partitions.
    """
    if running := SparkSession.getActiveSession():
        return running
    settings = Settings(home=home.absolute())
    settings.paths.metastore.mkdir(parents=True, exist_ok=True)
    os.environ |= {
        "JAVA_HOME": str(require_java().home),
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": HOST,
        "TZ": "UTC",
    }
    conf: dict[str, Any] = dict(
        line.split(" ", 1) for line in spark_conf(settings, verified_jars()).splitlines()
    )
    for key in [key for key in conf if key.startswith(NOT_HERE if tuned else NOT_AS_IT_COMES)]:
        del conf[key]
    options = conf.get("spark.driver.extraJavaOptions", "-Duser.timezone=UTC")
    # Where Derby's log goes.
    conf["spark.driver.extraJavaOptions"] = (
        f"{options} '-Dderby.system.home={settings.paths.metastore}'"
    )
    builder = SparkSession.builder.master("local[*]").config(map=conf)
    spark = builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark


@dataclass(frozen=True)
class Chain:
    """The streams of one home; the method of a table's name gives the stream of its rows."""

    spark: SparkSession
    source: Path
    home: Path
    once: bool

    def seconds(self) -> dict[str, float]:
        """Runs layer after layer, and says how long each took."""
        took = {}
        try:
            for layer, steps in LAYERS.items():
                began = time.monotonic()
                for tables in steps:
                    for query in [self.start(table) for table in tables]:
                        if self.once:
                            query.awaitTermination()
                        else:
                            query.processAllAvailable()
                if layer == "gold":
                    self.spark.sql(GYM_SUMMARY)
                took[layer] = round(time.monotonic() - began, 1)
        finally:
            for query in self.spark.streams.active:
                query.stop()
        return took

    def start(self, table: str) -> StreamingQuery:
        """Starts the stream into a table: by a MERGE, or else by appending."""

        def merge(batch: DataFrame, _: int) -> None:
            batch.createOrReplaceTempView("batch")
            batch.sparkSession.sql(f"merge into {table} t using {MERGES[table]}")

        checkpoint = str(self.home / "checkpoints" / table)
        rows: DataFrame = getattr(self, table)()
        writer = rows.writeStream.queryName(table).option("checkpointLocation", checkpoint)
        writer = (
            writer.trigger(availableNow=True) if self.once else writer.trigger(processingTime=EVERY)
        )
        return (
            writer.foreachBatch(merge).start()
            if table in MERGES
            else writer.toTable(table, format="delta")
        )

    def files(self, table: str, kind: str, names: str) -> DataFrame:
        """The delivered files of a kind as a stream in a bronze table's columns."""
        columns, _ = TABLES[table].split(", load_time")
        return (
            self.spark.readStream.format(kind)
            .schema(columns)
            .options(header="true", pathGlobFilter=names)
            .load(str(self.source))
            .withColumn("load_time", F.current_timestamp())
            .withColumn("source_file", F.col("_metadata.file_path"))
        )

    def table(self, name: str) -> DataFrame:
        """A table's new rows as a stream; a row in a rewritten file comes again."""
        return self.spark.readStream.option("ignoreChanges", "true").table(name)

    def messages(self, topic: str, schema: str) -> DataFrame:
        """The values of one topic's messages as a stream."""
        rows = self.table("kafka_multiplex_bz").where(F.col("topic") == topic)
        return rows.select(F.from_json("value", schema).alias("v")).select("v.*")

    def registered_users_bz(self) -> DataFrame:
        """Registrations as delivered."""
        return self.files("registered_users_bz", "csv", "*registered_users*")

    def gym_logins_bz(self) -> DataFrame:
        """Gym logins as delivered."""
        return self.files("gym_logins_bz", "csv", "*gym_logins*")

    def kafka_multiplex_bz(self) -> DataFrame:
        """Messages as delivered, with the calendar's week, by which they are laid out."""
        files = self.files("kafka_multiplex_bz", "json", "*{user_info,bpm,workout}*")
        calendar = self.spark.read.schema("date date, week_part string").json(
            str(self.source), pathGlobFilter="*date-lookup*"
        )
        rows = files.withColumn("date", F.to_date(F.timestamp_seconds("timestamp")))
        return rows.join(F.broadcast(calendar), "date", "left")

    def users(self) -> DataFrame:
        """Registrations, once for each user and device."""
        rows = self.table("registered_users_bz").withColumn(
            "registered", F.timestamp_seconds("registration_timestamp")
        )
        return (
            rows.select("user_id", "device_id", "mac_address", "registered")
            .withWatermark("registered", LATENESS)
            .dropDuplicates(["user_id", "device_id"])
        )

    def gym_logs(self) -> DataFrame:
        """Visits, once for each mac address, gym and login."""
        return (
            self.table("gym_logins_bz")
            .withColumn("login", F.timestamp_seconds("login"))
            .withColumn("logout", F.timestamp_seconds("logout"))
            .drop("load_time", "source_file")
            .withWatermark("login", LATENESS)
            .dropDuplicates(["mac_address", "gym", "login"])
        )

    def user_profile(self) -> DataFrame:
        """The latest profile of each user; deletes are passed over."""
        return (
            self.messages("user_info", USER_INFO)
            .where("update_type in ('new', 'update')")
            .withColumn("updated", F.timestamp_seconds("timestamp"))
            .withColumn("dob", F.to_date("dob", "MM/dd/yyyy"))
            .select("*", "address.*")
            .drop("update_type", "timestamp", "address")
            .withWatermark("updated", LATENESS)
            .dropDuplicates(["user_id", "updated"])
        )

    def workouts(self) -> DataFrame:
        """Starts and stops, one for each user and second."""
        return (
            self.messages("workout", WORKOUT)
            .withColumn("time", F.timestamp_seconds("timestamp"))
            .drop("timestamp")
            .withWatermark("time", LATENESS)
            .dropDuplicates(["user_id", "time"])
        )

    def heart_rate(self) -> DataFrame:
        """Readings, one for each device and second; one without a value passes for valid."""
        return (
            self.messages("bpm", BPM)
            .withColumn("time", F.timestamp_seconds("time"))
            .withColumn("valid", F.expr("not coalesce(heartrate <= 0, false)"))
            .withWatermark("time", LATENESS)
            .dropDuplicates(["device_id", "time"])
        )

    def user_bins(self) -> DataFrame:
        """What the summary says of a user, with the age of today."""
        rows = self.table("user_profile")
        return rows.selectExpr("user_id", BAND, "gender", "city", "state", "updated")

    def completed_workouts(self) -> DataFrame:
        """Starts with their stops, at most three hours later."""

        def events(action: str, name: str) -> DataFrame:
            rows = self.table("workouts").where(F.col("action") == action)
            return rows.select(*SESSION, F.col("time").alias(name)).withWatermark(name, LATENESS)

        return (
            events("start", "start_time")
            .join(events("stop", "end_time"), list(SESSION))
            .where("end_time < start_time + interval 3 hours")
        )

    def workout_bpm(self) -> DataFrame:
        """The valid readings of the user's device during each completed workout."""
        devices = self.spark.table("users").select("user_id", "device_id")
        workouts = self.table("completed_workouts").withWatermark("end_time", LATENESS)
        readings = self.table("heart_rate").where("valid").withWatermark("time", LATENESS)
        return (
            workouts.join(devices, "user_id")
            .join(readings, "device_id")
            .where("time > start_time and time <= end_time and end_time < time + interval 3 hours")
            .drop("device_id", "valid")
        )

    def workout_bpm_summary(self) -> DataFrame:
        """A row for each session, once the watermark has passed its end."""
        return (
            self.table("workout_bpm")
            .withWatermark("end_time", LATENESS)
            .groupBy(*SESSION, "end_time")
            .agg(
                F.count("*").alias("num_bpm"),
                F.min("heartrate").alias("min_bpm"),
                F.avg("heartrate").alias("avg_bpm"),
                F.max("heartrate").alias("max_bpm"),
            )
            .join(self.spark.table("user_bins").drop("updated"), "user_id")
            .drop("end_time")
        )


def run(source: Path, home: Path, *, once: bool, tuned: bool) -> dict[str, float]:
    """Runs the chain over a folder of files; a home that has been used goes on where it was.

    Args:
        source: The folder of the delivered files, with those of the calendar.
        home: The folder for tables and checkpoints.
        once: One pass over what is there; else streams, until all is processed.
        tuned: As in `session`.

    Returns:
        Seconds of wall time for bronze, silver and gold.
    """
    home = home.absolute()
    spark = session(home, tuned=tuned)
    database = f"peer_{zlib.crc32(bytes(home)):08x}"  # so that a process may run several homes
    spark.sql(f"create database if not exists {database} location '{home / 'tables'}'")
    spark.catalog.setCurrentDatabase(database)
    for name, columns in TABLES.items():
        spark.sql(
            f"create table if not exists {name} ({columns}) using delta {PARTITIONED.get(name, '')}"
        )
    return Chain(spark, source.absolute(), home, once).seconds()


def main() -> None:
    """Runs the chain, and prints its seconds and how many rows the gold tables have."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="The files, as in set 1.")
    parser.add_argument("--home", type=Path, required=True, help="An empty folder.")
    parser.add_argument("--stream", action="store_true", help="Not one pass, but streams.")
    parser.add_argument("--tuned", action="store_true", help="Spark set as our engine is.")
    options = parser.parse_args()
    seconds = run(options.source, options.home, once=not options.stream, tuned=options.tuned)
    spark = session(options.home, tuned=options.tuned)
    rows = {name: spark.table(name).count() for name in GOLD}
    print(json.dumps({"seconds": seconds, "rows": rows, "cores": os.cpu_count()}))
    spark.stop()


if __name__ == "__main__":
    main()
