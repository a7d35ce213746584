"""The real data set, which is no part of the project but lies beside it."""

from __future__ import annotations

from lakehouse.settings import PROJECT

SET_1 = PROJECT.parent / "shared" / "data" / "sbit-set-1"
SET_1_FILES = {
    "sbit.registered_users": ["1-registered_users_1.csv"],
    "sbit.gym_logins": ["5-gym_logins_1.csv"],
    "sbit.kafka_multiplex": ["2-user_info_1.json", "3-bpm_1.json.gz", "4-workout_1.json"],
}
