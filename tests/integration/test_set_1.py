"""The real data set, from its files to the printed answers, by the commands that a user types."""

from __future__ import annotations

import pytest

from lakehouse.errors import LakehouseError
from tests.support.domains import DOMAINS
from tests.support.jdbc import what_differs
from tests.support.lakehouse import Lakehouse, run
from tests.support.set_1 import SET_1, SET_1_FILES


@pytest.fixture(scope="module")
def built(lakehouse: Lakehouse) -> Lakehouse:
    for table, names in SET_1_FILES.items():
        run(lakehouse, "land", table, *[SET_1 / name for name in names])
    run(lakehouse, "run", "--once")
    return lakehouse


def test_the_bpm_summary_is_printed_as_the_data_says(built: Lakehouse) -> None:
    answer = run(
        built,
        "query",
        "select num_readings, round(avg_bpm, 9) as avg_bpm from gold.workout_bpm_summary "
        "where num_readings > 0",
        "--format",
        "csv",
    )
    assert answer.stdout == "num_readings,avg_bpm\n3900,64.64236486\n"


def test_the_one_measured_workout_is_exact(built: Lakehouse) -> None:
    [row] = built.rows("select * from gold.workout_bpm_summary where num_readings > 0")
    assert (row["user_id"], row["workout_id"], row["session_id"]) == (12474, 1, 1)
    assert row["min_bpm"] == pytest.approx(35.003105735835994, abs=1e-9)
    assert row["avg_bpm"] == pytest.approx(64.642364860269, abs=1e-9)
    assert row["max_bpm"] == pytest.approx(94.98191173214704, abs=1e-9)
    assert [row[name] for name in ("age", "sex", "city", "state")] == [
        "75-85",
        "M",
        "San Fernando",
        "CA",
    ]
    assert built.value("select count(*) from gold.workout_bpm_summary") == 8  # C7, C13


def test_a_bi_tool_sees_the_marts_as_they_are(built: Lakehouse) -> None:
    assert what_differs(built, DOMAINS["wearables"].marts) == []


def test_the_gym_summary_is_exact(built: Lakehouse) -> None:
    rows = built.rows("select * from gold.gym_summary")
    assert {
        (row["gym"], row["mac_address"]): (
            str(row["minutes_in_gym"]),
            str(row["minutes_exercising"]),
            row["visits"],
        )
        for row in rows
    } == {
        (1, "57:24:ac:8c:75:ea"): ("75.00", "65.00", 1),
        (1, "ae:ec:f6:48:ca:f7"): ("45.00", "35.00", 1),
        (3, "36:1f:d9:d3:e8:0d"): ("135.00", "115.00", 2),
        (5, "14:cd:d6:db:70:f6"): ("125.00", "105.00", 2),
        (5, "4c:c5:9f:cb:13:bd"): ("75.00", "65.00", 1),
        (5, "57:24:ac:8c:75:ea"): ("72.00", "63.00", 1),
    }
    assert len(rows) == 6
    # Which Delta would answer from its log, with a date that Spark Connect cannot take.
    last = built.value("select max(date) from gold.gym_summary")
    assert last == max(row["date"] for row in rows)


def test_every_reading_is_kept_and_the_unregistered_wait(built: Lakehouse) -> None:
    assert built.value("select count(*) from silver.int_readings") == 253_801
    assert built.num_unmatched_readings() == 81_900
    assert built.value("select count(*) from audit.rejects") == 0


def test_both_changes_of_a_user_are_kept_and_the_later_one_is_current(built: Lakehouse) -> None:
    versions = built.rows(
        "select last_name, unix_seconds(valid_from) as since from silver.dim_users "
        "where user_id = 12140 order by valid_from"
    )
    assert [(row["last_name"], row["since"]) for row in versions] == [
        ("Clark", 1678451529),
        ("Castillo", 1678451625),
    ]  # C2
    assert (
        built.value("select last_name from silver.dim_users_current where user_id = 12140")
        == "Castillo"
    )


def test_events_that_share_kafka_coordinates_all_survive(built: Lakehouse) -> None:
    assert built.value("select count(*) from silver.int_workout_events") == 16  # C21


def test_the_calendar_equals_the_published_one(built: Lakehouse) -> None:
    published = built.rows(
        f"select * from json.`{(SET_1 / '6-date-lookup.json').as_uri()}` order by date"
    )
    ours = built.rows(
        "select cast(date as string) as date, cast(dayofmonth as string) as dayofmonth, "
        "cast(dayofweek as string) as dayofweek, cast(dayofyear as string) as dayofyear, "
        "cast(month as string) as month, cast(week as string) as week, week_part, "
        "cast(year as string) as year from silver.calendar where year = 2023 order by date"
    )
    assert ours == published  # C18
    assert len(ours) == 365


def test_the_same_files_again_are_duplicates(built: Lakehouse) -> None:
    before = built.gold()
    for table, names in SET_1_FILES.items():
        for name in names:
            built.deliver(table, f"again-{name}", (SET_1 / name).read_bytes())
    load = built.ingest()
    assert load is not None
    assert [(source.landed, source.rows) for source in load.sources] == [(0, 0)] * 3
    assert sum(source.duplicates for source in load.sources) == 5
    built.build_untested()
    assert built.gold("gold_build") == before  # C21


def test_status_counts_what_is_there(built: Lakehouse) -> None:
    answer = run(built, "status")
    assert "sbit.kafka_multiplex" in answer.stdout
    assert "253824" in answer.stdout
    assert "81900" in answer.stdout


def test_errors_are_a_line_and_an_exit_status(built: Lakehouse) -> None:
    wrong = run(built, "land", "sbit.nothing", SET_1 / "5-gym_logins_1.csv", check=False)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("Error: sbit.nothing is no declared source.")
    failed = run(built, "query", "select nothing from nowhere", check=False)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr


def test_a_failed_build_leaves_the_gold_that_readers_see(built: Lakehouse) -> None:
    before = built.gold()
    built.deliver(
        "sbit.gym_logins",
        "new",
        b"mac_address,gym,login,logout\n4c:c5:9f:cb:13:bd,5,1678600000,1678603600\n",
    )
    built.ingest()
    built.rows(
        "insert into gold_build.gym_summary select * from gold_build.gym_summary where gym = 3"
    )
    with pytest.raises(LakehouseError, match="readers of gold see what they saw before"):
        built.build()
    assert len(built.rows("select * from gold_build.gym_summary")) == 8
    assert built.gold() == before
    built.rows("delete from gold_build.gym_summary where gym = 3")
    built.build("--full-refresh", "--select", "gym_summary")
    assert built.gold() == before, "a partial build does not publish"
    built.build()
    assert len(built.gold()["gym_summary"]) == 7
