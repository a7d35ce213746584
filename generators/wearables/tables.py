"""The tables that are delivered: their names, and the columns of those that come as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REGISTERED_USERS: Final = "sbit.registered_users"
GYM_LOGINS: Final = "sbit.gym_logins"
KAFKA_MULTIPLEX: Final = "sbit.kafka_multiplex"

CSV_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    REGISTERED_USERS: ("user_id", "device_id", "mac_address", "registration_timestamp"),
    GYM_LOGINS: ("mac_address", "gym", "login", "logout"),
}
