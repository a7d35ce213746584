"""What customers come to, against the library lifetimes: made-up orders, and those of CDNOW."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from generators.retail.story import sets
from generators.retail.tables import ORDER_ITEMS, ORDERS, PRODUCTS, REFUNDS
from tests.oracle.retail.marts import answers
from tests.oracle.retail.rows import Deliveries, read_contents
from tests.support.customer_values import (
    CDNOW_UNTIL,
    as_orders,
    by_lifetimes,
    by_the_mart,
    cdnow,
    cdnow_published,
)

STORY: Mapping[str, int] = {"days": 40, "minutes": 10, "customers": 60}
TROUBLE: Mapping[str, Any] = {"late": 0.2, "duplicates": 0.1, "corrupt": 0.01, "reversed_": True}
INGESTED = datetime(2026, 6, 1, tzinfo=UTC)


def delivered(seed: int, **trouble: Any) -> Deliveries:
    contents: dict[str, list[tuple[str, bytes]]] = {}
    for told in sets(seed, **STORY, **trouble):
        for table, named in told.files.items():
            contents.setdefault(table, []).extend(
                item for item in named.items() if f"{table}/{item[0]}" not in told.refused
            )
    return read_contents(contents)


def last_states(rows: Sequence[Mapping[str, Any]], *key: str) -> pd.DataFrame:
    """The last row told of each key, but of those that are gone."""
    frame = pd.DataFrame(rows).sort_values("updated_at").drop_duplicates([*key], keep="last")
    return frame[frame["_op"].isna()] if "_op" in frame else frame


def purchases(story: Deliveries, zone: str) -> pd.DataFrame:
    """Each order that counts: its customer, local day and net cents.

    Args:
        story: One in which all goes well.
        zone: Of the days.
    """
    orders = last_states(story.rows[ORDERS], "order_id")
    orders = orders[(orders.status != "cancelled") & orders.customer_id.notna()]
    lines = last_states(story.rows[ORDER_ITEMS], "order_id", "line")
    lines = lines.merge(orders[["order_id", "ordered_at"]]).sort_values("ordered_at")

    prices = pd.DataFrame(story.rows[PRODUCTS]).sort_values("updated_at")
    prices.loc[~prices.product_id.duplicated(), "updated_at"] = 0  # holds before it, too
    lines = pd.merge_asof(
        lines,
        prices[["product_id", "updated_at", "unit_price"]].sort_values("updated_at"),
        left_on="ordered_at",
        right_on="updated_at",
        by="product_id",
        suffixes=("", "_of_product"),
    )
    price = lines.unit_price.where(lines.unit_price.notna(), lines.unit_price_of_product)
    lines["cents"] = (price.fillna(0) * 100).astype(int) * lines.quantity

    refunds = pd.DataFrame(story.rows[REFUNDS]).merge(lines[["order_id", "line"]])
    refunds["cents"] = -(refunds.amount * 100).astype(int)
    cents = pd.concat([lines, refunds]).groupby("order_id").cents.sum()
    days = pd.to_datetime(orders.ordered_at, unit="us", utc=True).dt.tz_convert(zone).dt.date
    of_orders = orders.order_id.map(cents).fillna(0).astype(int)
    return orders[["customer_id"]].assign(date=days, cents=of_orders)


def day(at: str, zone: str) -> date:
    return datetime.fromisoformat(at).astimezone(ZoneInfo(zone)).date()


# The stories are of the 2nd of March to the 11th of April 2026; the clocks of Berlin change on the
# 29th of March, those of Santiago on the 4th of April.
@pytest.mark.parametrize(
    ("seed", "zone"), [(10, "Europe/Berlin"), (14, "America/Santiago"), (15, "Asia/Tokyo")]
)
def test_made_up_customers_come_to_what_lifetimes_says(seed: int, zone: str) -> None:
    found = answers(delivered(seed, **TROUBLE), ingested_at=INGESTED, timezone=zone)
    bought = purchases(delivered(seed), zone)
    expected = by_lifetimes(bought, day(found["as_of"], zone))
    assert by_the_mart(found["customer_segments"]) == expected
    # What makes it hard is there.
    rows = found["customer_segments"]
    assert len(expected) < len(rows)
    assert any(row["frequency"] > row["order_days"] for row in rows if row["order_days"])
    assert any(row["monetary"] < "0" for row in rows if row["monetary"])


def test_customers_of_cdnow_come_to_what_lifetimes_says() -> None:
    contents = {table: [("cdnow", content)] for table, content in as_orders(cdnow()).items()}
    found = answers(read_contents(contents), ingested_at=INGESTED)["customer_segments"]
    expected = by_lifetimes(cdnow(), CDNOW_UNTIL)
    assert len(expected) == 2357
    assert by_the_mart(found) == expected


def test_customers_of_cdnow_come_to_what_was_published_of_them() -> None:
    """A summary that `lifetimes` ships and did not work out: 39 weeks, the first day left out."""
    contents = {table: [("cdnow", content)] for table, content in as_orders(cdnow()).items()}
    until = datetime(2017, 9, 30, 23, tzinfo=UTC)
    found = answers(read_contents(contents), ingested_at=INGESTED, as_of=until)
    published = cdnow_published()
    assert [
        (row["customer_id"], row["order_days"] - 1, row["recency_days"])
        for row in found["customer_segments"]
    ] == [
        (of.ID, of.frequency, round(7 * (of["T"] - of.recency))) for _, of in published.iterrows()
    ]
