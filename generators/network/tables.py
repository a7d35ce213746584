"""The tables that are delivered, all as Parquet: their names and their columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa

SERVERS: Final = "telecom.servers"
CUSTOMERS: Final = "telecom.customers"
DEVICES: Final = "telecom.devices"
CONNECTIONS: Final = "telecom.connections"

_INSTANT = pa.timestamp("us", tz="UTC")
SCHEMAS: Final[Mapping[str, pa.Schema]] = {
    SERVERS: pa.schema(
        {
            "server_id": pa.int64(),
            "location": pa.string(),
            "capacity_mbps": pa.float64(),
            "valid_from": _INSTANT,
        }
    ),
    CUSTOMERS: pa.schema(
        {
            "customer_id": pa.int64(),
            "kind": pa.string(),
            "name": pa.string(),
            "address": pa.string(),
            "plan_mbps": pa.float64(),
            "valid_from": _INSTANT,
        }
    ),
    DEVICES: pa.schema(
        {
            "device_id": pa.int64(),
            "customer_id": pa.int64(),
            "device_type": pa.string(),
            "ipv4": pa.string(),
            "registered_at": _INSTANT,
        }
    ),
    CONNECTIONS: pa.schema(
        {
            "event_id": pa.int64(),
            "session_id": pa.int64(),
            "device_id": pa.int64(),
            "server_id": pa.int64(),
            "event_type": pa.string(),
            "event_at": _INSTANT,
            "asked_mbps": pa.float64(),
            "received_mbps": pa.float64(),
            "bytes": pa.int64(),
        }
    ),
}
