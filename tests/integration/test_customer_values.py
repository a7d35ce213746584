"""What the customers of CDNOW come to, against the library lifetimes."""

from __future__ import annotations

import pytest

from tests.support.customer_values import CDNOW_UNTIL, as_orders, by_lifetimes, by_the_mart, cdnow
from tests.support.lakehouse import Lakehouse, plain

pytestmark = pytest.mark.deep


def test_customers_of_cdnow_come_to_what_lifetimes_says(lakehouse: Lakehouse) -> None:
    lakehouse.domains = ("retail",)
    for table, content in as_orders(cdnow()).items():
        lakehouse.deliver(table, "cdnow.parquet", content)
    lakehouse.ingest()
    lakehouse.build()
    found = plain(lakehouse.rows("select * from gold.customer_segments"))
    assert by_the_mart(found) == by_lifetimes(cdnow(), CDNOW_UNTIL)
