"""What differs where the engine works on a cluster: master, catalog, storage, jars for the workers.

driver (this machine): Thrift, Connect    catalog: PostgreSQL    storage: s3a://bucket/folder
          └ tasks -> workers ----------------------------------------------^
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

from ingestion.faults import why_unread
from lakehouse.errors import LakehouseError
from lakehouse.settings import Cluster

# How the engine's JVM is told the catalog's password: in a file or an argument others could see it.
PASSWORD = "LAKEHOUSE_CATALOG_PASSWORD"  # noqa: S105 - a variable's name
# The local engine has them on the loopback address, where no worker of a cluster would find them.
_OF_THIS_MACHINE = ("spark.driver.host", "spark.driver.bindAddress")


def conf_of(
    local: dict[str, object], cluster: Cluster, jars: Sequence[Path], warehouse: object
) -> dict[str, object]:
    """The engine's settings on a cluster.

    Args:
        local: The settings of the local engine.
        cluster: The cluster.
        jars: The engine's jars.
        warehouse: Where the tables are.

    Raises:
        LakehouseError: The catalog's address or the file of properties cannot be read.
    """
    conf = {key: value for key, value in local.items() if key not in _OF_THIS_MACHINE}
    catalog = _catalog(cluster)
    region = os.environ.get("AWS_REGION")
    return (
        conf
        | {
            "spark.master": cluster.master,
            # The workers fetch them from the driver; its own sessions have them by its class path.
            "spark.jars": ",".join(str(jar) for jar in jars),
            "spark.executor.extraJavaOptions": "-Duser.timezone=UTC -Dfile.encoding=UTF-8",
            "spark.sql.warehouse.dir": warehouse,
            "spark.hadoop.javax.jdo.option.ConnectionURL": (
                f"jdbc:postgresql://{catalog.get('host', 'localhost')}:"
                f"{catalog.get('port', 5432)}/{catalog.get('dbname', 'postgres')}"
            ),
            "spark.hadoop.javax.jdo.option.ConnectionDriverName": "org.postgresql.Driver",
            "spark.hadoop.javax.jdo.option.ConnectionUserName": catalog.get("user", "postgres"),
            # Hadoop puts in the variable when it reads this.
            "spark.hadoop.javax.jdo.option.ConnectionPassword": f"${{env.{PASSWORD}}}",
            # Tables alone: with `autoCreateAll` the start hangs for ever in PostgreSQL.
            "spark.hadoop.datanucleus.schema.autoCreateTables": "true",
            "spark.hadoop.hive.metastore.schema.verification": "false",
        }
        # The keys and the endpoint Spark itself takes from the environment and tells the workers.
        | ({"spark.hadoop.fs.s3a.endpoint.region": region} if region else {})
        | _properties(cluster.properties)
    )


def environment_of(cluster: Cluster) -> dict[str, str]:
    """What the engine's process is told by its environment alone.

    Raises:
        LakehouseError: The catalog's address cannot be read.
    """
    return {PASSWORD: str(_catalog(cluster).get("password", ""))}


def _catalog(cluster: Cluster) -> dict[str, object]:
    try:
        return dict(conninfo_to_dict(cluster.catalog.get_secret_value()))
    except ProgrammingError as error:
        raise LakehouseError(
            f"LAKEHOUSE_CLUSTER_CATALOG is no address of a database: {str(error).strip()}. "
            "Write it like: host=... dbname=... user=... password=...",
            exit_code=2,
        ) from None


def _properties(path: Path) -> dict[str, object]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LakehouseError(
            f"{path}: {why_unread(error)}. Correct LAKEHOUSE_CLUSTER_PROPERTIES.", exit_code=2
        ) from None
    found: dict[str, object] = {}
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            key, *value = line.split(None, 1)
            if not value:
                raise LakehouseError(
                    f"{path}, line {number}: {key} has no value. Write it behind a space.",
                    exit_code=2,
                )
            found[key] = value[0]
    return found
