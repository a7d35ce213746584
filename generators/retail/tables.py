"""The tables that are delivered: their names, and the columns of those that come as Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

CUSTOMERS: Final = "retail.customers"
PRODUCTS: Final = "retail.products"
ORDERS: Final = "retail.orders"
ORDER_ITEMS: Final = "retail.order_items"
REFUNDS: Final = "retail.refunds"
STOCK_LEVELS: Final = "retail.stock_levels"
STOCK_MOVEMENTS: Final = "retail.stock_movements"
CLICKS: Final = "retail.clicks"
"""JSON lines of envelopes, or messages of the topic `clicks`."""

_INSTANT = pa.timestamp("us", tz="UTC")
_MONEY = pa.decimal128(18, 2)
SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    CUSTOMERS: pa.schema(
        {
            "customer_id": pa.int64(),
            "name": pa.string(),
            "email": pa.string(),
            "region": pa.string(),
            "updated_at": _INSTANT,
        }
    ),
    PRODUCTS: pa.schema(
        {
            "product_id": pa.int64(),
            "name": pa.string(),
            "category": pa.string(),
            "unit_price": _MONEY,
            "updated_at": _INSTANT,
        }
    ),
    ORDERS: pa.schema(
        {
            "order_id": pa.int64(),
            "customer_id": pa.int64(),
            "status": pa.string(),
            "ordered_at": _INSTANT,
            "updated_at": _INSTANT,
        }
    ),
    ORDER_ITEMS: pa.schema(
        {
            "order_id": pa.int64(),
            "line": pa.int64(),
            "product_id": pa.int64(),
            "quantity": pa.int64(),
            "unit_price": _MONEY,
            "updated_at": _INSTANT,
        }
    ),
    REFUNDS: pa.schema(
        {
            "refund_id": pa.int64(),
            "order_id": pa.int64(),
            "line": pa.int64(),
            "quantity": pa.int64(),
            "amount": _MONEY,
            "refunded_at": _INSTANT,
            "recorded_at": _INSTANT,
        }
    ),
    STOCK_LEVELS: pa.schema(
        {
            "product_id": pa.int64(),
            "warehouse": pa.string(),
            "reorder_point": pa.int64(),
            "updated_at": _INSTANT,
        }
    ),
    STOCK_MOVEMENTS: pa.schema(
        {
            "movement_id": pa.int64(),
            "product_id": pa.int64(),
            "warehouse": pa.string(),
            "quantity": pa.int64(),
            "reason": pa.string(),
            "moved_at": _INSTANT,
            "recorded_at": _INSTANT,
        }
    ),
}
"""A row that is gone from a table has in a file the column `_op` besides, with `delete`."""
