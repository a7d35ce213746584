"""What customers' orders come to, by the library lifetimes, which nobody here wrote.

Its names and the mart's: it counts days with a purchase, and the shop orders as well.

    order_days        frequency
    monetary          frequency x monetary_value, the mean of what a day's orders come to
    recency_days      T - recency
    first_ordered_on  T before the report's day

A customer without an order that counts is none of its customers: of these the mart has nulls.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from lifetimes.utils import summary_data_from_transaction_data

from generators.retail.tables import ORDER_ITEMS, ORDERS, SCHEMAS

CDNOW_UNTIL: Final = date(2018, 6, 30)
"""The day of the last purchase, as `cdnow` tells it."""
_LATER: Final = pd.DateOffset(years=20)
"""No shop of ours was open in 1997; of these years, too, none with a leap day."""
_NOON: Final = pd.Timedelta(hours=12)


def by_lifetimes(purchases: pd.DataFrame, until: date) -> dict[int, dict[str, Any]]:
    """The customers' values as `customer_segments` names them.

    Args:
        purchases: A row for each order: customer_id, date (local), and cents, what it comes to.
        until: The day of the report.
    """
    summary = summary_data_from_transaction_data(
        purchases.astype({"date": "datetime64[ns]"}),
        "customer_id",
        "date",
        monetary_value_col="cents",
        observation_period_end=until,
        include_first_transaction=True,
    )
    return {
        customer: {
            "order_days": int(of.frequency),
            "monetary": str(Decimal(round(of.frequency * of.monetary_value)).scaleb(-2)),
            "recency_days": int(of["T"] - of.recency),
            "first_ordered_on": (until - timedelta(days=of["T"])).isoformat(),
        }
        for customer, of in summary.iterrows()
    }


def by_the_mart(rows: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, Any]]:
    """The same of the plain rows of `customer_segments`, of those who have orders that count."""
    names = ("order_days", "monetary", "recency_days", "first_ordered_on")
    return {
        row["customer_id"]: {name: row[name] for name in names}
        for row in rows
        if row["segment"] != "no orders"
    }


def cdnow() -> pd.DataFrame:
    """The purchases of 2,357 customers of CDNOW in 1997 and 1998, twenty years later.

    Returns:
        A row for each: customer_id, date, pieces, cents.
    """
    rows = [line.split() for line in _shipped("CDNOW_sample.txt").splitlines()]
    return pd.DataFrame(
        {
            "customer_id": int(customer),
            "date": pd.Timestamp(day) + _LATER,
            "pieces": int(pieces),
            "cents": int(Decimal(dollars) * 100),
        }
        for _, customer, day, pieces, dollars in rows
    )


def cdnow_published() -> pd.DataFrame:
    """What was published of them, by days with a purchase, up to the 30th of September 1997.

    Returns:
        A row for each: ID, frequency (days after the first), recency and T (weeks).
    """
    return pd.read_csv(io.StringIO(_shipped("cdnow_customers_summary.csv")))


def _shipped(name: str) -> str:
    """A file among the library's; its own functions to read it need an old setuptools."""
    return (files("lifetimes") / "datasets" / name).read_text()


def as_orders(purchases: pd.DataFrame) -> dict[str, bytes]:
    """The purchases as the shop's rows, a Parquet file for each table.

    Each is an order at noon UTC with two lines: all pieces but the last at an even share of the
    money, and the last at the rest.
    """
    orders, lines = [], []
    for number, row in enumerate(purchases.itertuples(), 1):
        at = (row.date + _NOON).tz_localize("UTC")
        orders.append((number, row.customer_id, "paid", at, at))
        share = row.cents // row.pieces
        others = row.pieces - 1
        for line, quantity, cents in ((1, others, share), (2, 1, row.cents - others * share)):
            lines.append((number, line, 1, quantity, Decimal(cents).scaleb(-2), at))
    return {
        table: _parquet(table, rows) for table, rows in ((ORDERS, orders), (ORDER_ITEMS, lines))
    }


def _parquet(table: str, rows: list[tuple[Any, ...]]) -> bytes:
    schema, content = SCHEMAS[table], io.BytesIO()
    told = [dict(zip(schema.names, row, strict=True)) for row in rows]
    pq.write_table(pa.Table.from_pylist(told, schema), content)
    return content.getvalue()
