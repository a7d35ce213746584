"""From a sale that makes a stock low to the first query that sees it, and to the alert.

    python -m benchmarks.alerts --minutes 5 --home DIR [--to postgres]

`lakehouse run --every 5s` with its builds, `lakehouse alerts --follow` and a reader that asks the
live view over Thrift, beside a generator that sells. Once what it begins with is built, every ten
seconds one more stock becomes low: by a file, from its rename, or with `--to postgres` by a row,
from its commit in a database that the loop pulls from with each round. Both clocks are the
machine's.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from pyhive import exc

from benchmarks.latency import (
    EVERY,
    LAKEHOUSE,
    PAUSE_SECONDS,
    WARM_UP_MINUTES,
    Server,
    figures,
)
from generators.retail.database import VARIABLE, Database
from generators.retail.tables import SCHEMAS, STOCK_LEVELS, STOCK_MOVEMENTS
from ingestion.home import Home
from lakehouse import engine
from lakehouse.errors import LakehouseError
from lakehouse.settings import PROJECT, load_settings
from tests.support.postgres import running_server

WAREHOUSE = "measured"
LOW = f"select product_id from gold.stock_status where is_low and warehouse = '{WAREHOUSE}'"
# Products and movements that the generator does not reach.
FIRST = 10**12
PAUSE_OF_SALES = 10.0
# A sale may come just after a build has begun: then it waits for all of this one and of the next.
UNSEEN_SECONDS = 120.0
BEGIN_SECONDS = 900.0
SEED = 3

Tell = Callable[[str, list[dict[str, Any]]], None]


def told_by_file(home: Home) -> Tell:
    """Delivers rows of a table as a file, which is there from its rename on."""
    numbers = iter(range(10**6))

    def tell(table: str, rows: list[dict[str, Any]]) -> None:
        folder = home.inbox / table
        folder.mkdir(parents=True, exist_ok=True)
        hidden = folder / ".measured"
        pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMAS[table]), hidden)
        hidden.rename(folder / f"measured-{next(numbers)}.parquet")

    return tell


def told_by_row(address: str) -> Tell:
    """Inserts rows of a table in one transaction."""
    connection = psycopg.connect(address, autocommit=True)

    def tell(table: str, rows: list[dict[str, Any]]) -> None:
        name = f"shop.{table.partition('.')[2]}"
        with connection.transaction(), connection.cursor() as cursor:
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                statement = f"insert into {name} ({', '.join(row)}) values ({marks})"
                cursor.execute(statement.encode(), list(row.values()))

    return tell


def movement(number: int, product: int, quantity: int) -> dict[str, Any]:
    """A row of stock_movements, of this moment."""
    now = datetime.now(UTC)
    return {
        "movement_id": FIRST + number,
        "product_id": FIRST + product,
        "warehouse": WAREHOUSE,
        "quantity": quantity,
        "reason": "sale" if quantity < 0 else "receipt",
        "moved_at": now,
        "recorded_at": now,
    }


def stock(tell: Tell, num_products: int) -> None:
    """Six of each product, to be ordered at five."""
    now = datetime.now(UTC)
    levels = [
        {"product_id": FIRST + n, "warehouse": WAREHOUSE, "reorder_point": 5, "updated_at": now}
        for n in range(num_products)
    ]
    tell(STOCK_LEVELS, levels)
    tell(STOCK_MOVEMENTS, [movement(n, n, 6) for n in range(num_products)])


class Seen:
    """When which product was seen low first, in epoch seconds."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}
        self.is_over = False

    def ask(self, server: Server) -> None:
        """Asks the live view until it is over."""
        cursor = server.cursor()
        while not self.is_over:
            try:
                cursor.execute(LOW)
                rows = cursor.fetchall()
            except exc.Error:
                continue
            for [product] in rows:
                self.at.setdefault(product - FIRST, time.time())
            time.sleep(PAUSE_SECONDS)

    def hear(self, lines: Iterable[str]) -> None:
        """Reads what `lakehouse alerts --follow --json` prints."""
        for line in lines:
            record = json.loads(line)
            if record["kind"] == "low_stock" and record["warehouse"] == WAREHOUSE:
                self.at.setdefault(record["product_id"] - FIRST, time.time())


def delays_of(sold: Mapping[int, float], seen: Seen) -> list[float]:
    """Seconds from each sale until it was seen; infinite where it never was."""
    return [seen.at.get(product, math.inf) - at for product, at in sold.items()]


@contextmanager
def running(*arguments: str, log: Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A command of the lakehouse, which is interrupted in the end."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [LAKEHOUSE, *arguments], cwd=PROJECT, stderr=output, text=True, **options
        )
        with process:
            try:
                yield process
                process.send_signal(signal.SIGINT)
                process.wait(120)
            finally:
                process.kill()


def has_begun(log: Path) -> None:
    """Waits until what the generator begins with, ten days of a shop, is built and published.

    Raises:
        LakehouseError: It was not, in a quarter of an hour.
    """
    until = time.monotonic() + BEGIN_SECONDS
    while "published" not in log.read_text():
        if time.monotonic() > until:
            raise LakehouseError(f"The loop has published nothing: {log}")
        time.sleep(1)


def of_loop(minutes: int, home: Home, tell: Tell, server: Server, to: str) -> dict[str, Any]:
    """Sells while the loop runs, the follower and a reader beside it."""
    num_warm = round(60 * WARM_UP_MINUTES / PAUSE_OF_SALES)
    num_products = num_warm + round(60 * minutes / PAUSE_OF_SALES)
    stock(tell, num_products)
    home.root.mkdir(parents=True, exist_ok=True)
    log = home.root / "loop.log"
    with log.open("w") as output:
        subprocess.run([LAKEHOUSE, "run", "--once"], cwd=PROJECT, stderr=output, check=True)
    viewed, alerted, sold = Seen(), Seen(), {}
    with (
        running("run", "--every", f"{EVERY}s", log=log),
        running("generate", "retail", *generated(), "--to", to, log=home.root / "sales.log"),
        running(
            *("alerts", "--follow", "--json"), log=home.root / "alerts.log", stdout=subprocess.PIPE
        ) as follower,
    ):
        threads = [
            threading.Thread(target=viewed.ask, args=[server]),
            threading.Thread(target=alerted.hear, args=[follower.stdout or ()], daemon=True),
        ]
        for thread in threads:
            thread.start()
        has_begun(log)
        for product in range(num_products):
            tell(STOCK_MOVEMENTS, [movement(num_products + product, product, -2)])
            if product >= num_warm:
                sold[product] = time.time()
            time.sleep(PAUSE_OF_SALES)
        until = time.time() + UNSEEN_SECONDS
        while time.time() < until and not sold.keys() <= viewed.at.keys() & alerted.at.keys():
            time.sleep(1)
        viewed.is_over = True
        threads[0].join()
    alerts = figures(delays_of(sold, alerted))
    of_view = figures(delays_of(sold, viewed))
    return of_view | {f"alert_{name}": value for name, value in alerts.items()}


def generated() -> tuple[str, ...]:
    """The options of the generator that sells meanwhile."""
    return ("--seed", str(SEED), "--days", "10", "--minutes", "600", "--every", f"{EVERY}s")


def measure(minutes: int, folder: Path, to: str) -> dict[str, Any]:
    """Measures in an empty folder, which it leaves behind.

    Returns:
        Seconds until the view has it and until the alert is told.

    Raises:
        LakehouseError: The loop did not begin.
        RuntimeError: Nothing was seen.
    """
    settings = load_settings(folder.absolute() / "home")
    with ExitStack() as ends:
        ends.callback(engine.down, settings)
        tell = told_by_file(settings.paths)
        if to == "postgres":
            database_server = ends.enter_context(running_server())
            Database(database_server.owner)
            with database_server.connect() as connection:
                reader = PROJECT / "deploy" / "postgres" / "reader_retail.sql"
                connection.execute(reader.read_bytes())
                connection.execute("alter role lakehouse_reader password 'reads'")
            os.environ[VARIABLE] = database_server.owner
            os.environ["LAKEHOUSE_POSTGRES_RETAIL"] = f"{database_server.reader} password=reads"
            tell = told_by_row(database_server.owner)
        server = Server(settings.port)
        return {"minutes": minutes, **of_loop(minutes, settings.paths, tell, server, to)}


def main() -> None:
    """Measures, and prints what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--home", type=Path, required=True, help="An empty folder.")
    parser.add_argument("--to", choices=["files", "postgres"], default="files")
    options = parser.parse_args()
    try:
        print(json.dumps(measure(options.minutes, options.home, options.to)))
    except LakehouseError as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
