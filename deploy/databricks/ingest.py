"""Takes in what waits, on Databricks: the tasks `ingest-data` and `ingest-year`.

The session is the one that Databricks gives, and the home is /Volumes/<catalog>/files: what is a
folder of the home elsewhere is a volume there. It is the same ingestion; what it cannot have there
is a lock on a file, so the job sees to it that one run of it at a time takes in (one run of the
job, one year after the other).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def project() -> Path:
    """The folder of the project; Databricks runs a file without telling it where it lies."""
    known = globals().get("__file__")
    start = Path(known).resolve() if known else Path.cwd() / "x"
    for folder in start.parents:
        if (folder / "dbt_project.yml").is_file():
            return folder
    raise SystemExit(f"No project is around {start.parent}: run it from a checkout of it.")


sys.path.insert(0, str(project()))

from pyspark.sql import SparkSession  # noqa: E402 - the session's own

from ingestion.bronze import create_tables  # noqa: E402 - found just now
from ingestion.declaration import SourceTable, read_declarations  # noqa: E402
from ingestion.home import Home  # noqa: E402
from ingestion.loads import Load, Loads  # noqa: E402
from lakehouse.history import History  # noqa: E402


def session_of(catalog: str) -> SparkSession:
    """The session that Databricks gives, in which names without a catalog are of this one."""
    spark = SparkSession.builder.getOrCreate()
    spark.sql(f"use catalog `{catalog}`")
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    return spark


def take_in(loads: Loads) -> list[str]:
    """Takes in what waits, in a load or several; returns what failed, a line each."""
    failures: list[str] = []
    failed: set[tuple[str, str]] = set()
    is_done = False
    while not is_done:
        if load := loads.run(failed):
            failed |= load.failed
            failures += told(load)
        is_done = not loads.goes_on
    return failures


def take_in_year(
    spark: SparkSession, home: Home, loads: Loads, tables: list[SourceTable], year: str
) -> list[str]:
    """Takes in the files below history/<year>/<source>.<table>, where there are any.

    What has been taken in before is not taken in again, so each run may ask for each year.

    Returns:
        What failed, a line each.

    Raises:
        LakehouseError: Files are not in bronze as they should be, or stopped a source.
    """
    failures: list[str] = []
    for table in tables:
        folder = home.root / "history" / year / table.full_name
        if not any(path.is_file() for path in folder.rglob("*")):
            continue
        history = History(spark, home, table, folder)
        for load in history.take_in(loads, print):
            failures += told(load)
        proof = history.prove()
        print(f"{year}: {table.full_name}: files {proof.files}, rows {proof.rows_in_bronze}")
    return failures


def told(load: Load) -> list[str]:
    """Prints what a load did; returns what failed, a line each."""
    for source in load.sources:
        print(f"load {load.load_id}: {source.source}: rows {source.rows}")
    for refusal in load.refusals:
        print(f"Kept in quarantine: {refusal}")
    return load.failures


def main(arguments: list[str]) -> None:
    """Runs the task.

    Raises:
        SystemExit: Something failed. Where all went well nothing is raised: Databricks takes an
            exit for a failure, whatever its code.
    """
    parser = argparse.ArgumentParser(description="Takes in what waits, on Databricks.")
    parser.add_argument("--catalog", required=True, help="the catalog of the target")
    parser.add_argument("--year", help="take in this year's history instead")
    given = parser.parse_args(arguments)
    spark = session_of(given.catalog)
    home = Home(Path("/Volumes") / given.catalog / "files")
    tables = list(read_declarations(project() / "models").values())
    create_tables(spark, tables)
    loads = Loads(spark, home, tables, interprets=False)
    if given.year:
        failures = take_in_year(spark, home, loads, tables, given.year)
    else:
        failures = take_in(loads)
    if failures:
        raise SystemExit("; ".join(dict.fromkeys(failures)))


if __name__ == "__main__":
    main(sys.argv[1:])
