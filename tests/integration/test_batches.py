"""The real data set in ten small batches, shuffled, with repeats, crashes and partial builds.

However it arrives, the gold is the same, row for row, as from one clean delivery.
"""

from __future__ import annotations

import gzip
import random
from collections import defaultdict

import pytest

from tests.support.lakehouse import Lakehouse, plain
from tests.support.set_1 import SET_1, SET_1_FILES

pytestmark = pytest.mark.deep

BATCHES = 10
GYM_SUMMARY = {
    # gym, mac_address: minutes in gym, minutes exercising (the data's README)
    (1, "57:24:ac:8c:75:ea"): ("75.00", "65.00"),
    (1, "ae:ec:f6:48:ca:f7"): ("45.00", "35.00"),
    (3, "36:1f:d9:d3:e8:0d"): ("135.00", "115.00"),
    (5, "14:cd:d6:db:70:f6"): ("125.00", "105.00"),
    (5, "4c:c5:9f:cb:13:bd"): ("75.00", "65.00"),
    (5, "57:24:ac:8c:75:ea"): ("72.00", "63.00"),
}


def read(name: str) -> list[str]:
    content = (SET_1 / name).read_bytes()
    text = (gzip.decompress(content) if name.endswith(".gz") else content).decode()
    return [line for line in text.splitlines() if line.strip()]


def batches() -> list[dict[str, list[str]]]:
    """Every line once, in a random batch, and every tenth once more in another."""
    dice = random.Random(1)
    parts: list[dict[str, list[str]]] = [defaultdict(list) for _ in range(BATCHES)]
    for table, names in SET_1_FILES.items():
        for name in names:
            lines = read(name)
            header, lines = (
                ([], lines) if table == "sbit.kafka_multiplex" else (lines[:1], lines[1:])
            )
            for line in lines:
                for part in dice.sample(parts, 2 if dice.random() < 0.1 else 1):
                    part[table].append(line)
            for part in parts:
                dice.shuffle(part[table])
                if header and part[table]:
                    part[table] = header + [line for line in part[table] if line not in header]
    return parts


def deliver(lakehouse: Lakehouse, part: dict[str, list[str]], number: int) -> None:
    for table, lines in part.items():
        if lines:
            lakehouse.deliver(
                table, f"part {number}", "".join(f"{line}\n" for line in lines).encode()
            )


@pytest.fixture(scope="module")
def in_batches(lakehouse: Lakehouse) -> Lakehouse:
    parts = batches()
    for number, part in enumerate(parts):
        deliver(lakehouse, part, number)
        if number == 5:
            deliver(lakehouse, parts[1], 1)  # an old delivery again
        lakehouse.ingest()
        if number == 0:
            lakehouse.build_untested()
        elif number == 2:
            lakehouse.build_untested("--select", "int_workouts", "int_readings", "int_gym_visits")
        elif number == 3:
            lakehouse.kill_build(seconds=12)
        elif number == 4:
            lakehouse.build_untested()
        elif number == 6:
            lakehouse.kill_engine()
            lakehouse.lose_commit("sbit.kafka_multiplex")
        elif number == 7:
            lakehouse.build_untested("--exclude", "int_device_ownerships", "user_profiles")
        elif number == 9:
            # What stands on these, at whatever distance, may not pass this load by.
            lakehouse.build_untested(
                "--exclude", "int_registrations", "int_gym_visits", "int_workouts"
            )
    lakehouse.build()
    return lakehouse


def test_every_line_is_in_bronze_as_often_as_it_was_delivered(in_batches: Lakehouse) -> None:
    delivered = sum(len(part["sbit.kafka_multiplex"]) for part in batches())
    assert in_batches.value("select count(*) from bronze.sbit_kafka_multiplex") == delivered


def test_the_gold_is_that_of_one_clean_delivery(in_batches: Lakehouse) -> None:
    gold = in_batches.gold()
    assert {
        (row["gym"], row["mac_address"]): (row["minutes_in_gym"], row["minutes_exercising"])
        for row in gold["gym_summary"]
    } == GYM_SUMMARY
    assert len(gold["gym_visits"]) == 8
    assert len(gold["workout_bpm_summary"]) == 8
    [measured] = [row for row in gold["workout_bpm_summary"] if row["num_readings"]]
    assert measured["num_readings"] == 3900
    assert measured["avg_bpm"] == pytest.approx(64.642364860269, abs=1e-9)
    assert in_batches.value("select count(*) from silver.int_readings") == 253_801
    assert in_batches.num_unmatched_readings() == 81_900


def test_a_full_refresh_gives_the_same_gold_and_silver(in_batches: Lakehouse) -> None:
    tables = ("int_workouts", "int_gym_visits_matched", "int_device_ownerships", "int_readings")

    def silver() -> dict[str, object]:
        return {
            table: plain(in_batches.rows(f"select * from silver.{table} where not _is_deleted"))
            if table != "int_readings"
            else in_batches.value(
                "select bit_xor(xxhash64(device_id, reading_at, bpm, is_valid)) "
                "from silver.int_readings"
            )
            for table in tables
        }

    before = in_batches.gold("gold_build"), silver()
    in_batches.build_untested("--full-refresh")
    assert (in_batches.gold("gold_build"), silver()) == before
