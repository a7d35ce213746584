"""The real data set, which is no part of the project but lies beside it."""

from __future__ import annotations

from lakehouse.settings import PROJECT

# With it beside the project no test of it is skipped, whatever of it is missing.
SHARED = PROJECT.parent / "shared"
SET_1 = SHARED / "data" / "sbit-set-1"
SET_1_FILES = {
    "sbit.registered_users": ["1-registered_users_1.csv"],
    "sbit.gym_logins": ["5-gym_logins_1.csv"],
    "sbit.kafka_multiplex": ["2-user_info_1.json", "3-bpm_1.json.gz", "4-workout_1.json"],
}
