"""Small inputs after public bug reports, all in one home and one round: each ends where it should.

What is right is worked out by plain Python from the files that the gate must let in.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from datetime import UTC, datetime

import pytest

from tests.oracle.network import marts as network
from tests.oracle.wearables import marts as wearables
from tests.support.domains import DOMAINS
from tests.support.lakehouse import Lakehouse, plain, run
from tests.support.set_1 import SHARED

WEARABLES, NETWORK = DOMAINS["wearables"], DOMAINS["network"]
CASES = SHARED / "cases"
FILES = {
    "sbit.registered_users": ["base-registered.csv"],
    "sbit.gym_logins": [
        "base-visits.csv",
        "epoch-zero.csv",
        "excel-rounded.csv",
        "tiny-exponent.csv",
    ],
    "sbit.kafka_multiplex": [
        "base-messages.json",
        "envelope-without-value.json",
        "renamed-fields.json",
        "tiny-exponent.json",
        "two-events-on-a-line.json",
        "two-events-with-a-comma.json",
        "wrong-shapes.json",
    ],
    "telecom.servers": ["base-servers.parquet", "latin-1-servers.parquet"],
    "telecom.customers": ["base-customers.parquet"],
    "telecom.devices": ["base-devices.parquet"],
    "telecom.connections": [
        "base-connections.parquet",
        "byte-stream-split.parquet",
        "clock-of-2015.parquet",
    ],
}
REFUSED = {"latin-1-servers.parquet", "byte-stream-split.parquet"}
# File, level, reason: how many.
REJECTS = {
    ("two-events-on-a-line.json", "row", "the line is not one JSON object"): 1,
    ("two-events-with-a-comma.json", "row", "the line is not one JSON object"): 1,
    ("envelope-without-value.json", "row", "value is missing"): 2,
    ("renamed-fields.json", "field", "missing: heartrate"): 2,
    ("renamed-fields.json", "field", "missing: dob, gender, first_name, last_name"): 1,
    ("wrong-shapes.json", "field", "of another shape: address"): 3,
    ("wrong-shapes.json", "row", "value is not one JSON object"): 2,
    ("tiny-exponent.csv", "row", "login is unreadable"): 1,
    ("tiny-exponent.json", "row", "timestamp is before 2000-01-01"): 1,
    ("epoch-zero.csv", "row", "login is before 2000-01-01"): 1,
    ("epoch-zero.csv", "field", "logout is in the future"): 1,
    ("excel-rounded.csv", "row", "login has too few digits"): 2,
}


@pytest.fixture(scope="module")
def taken_in(lakehouse: Lakehouse) -> tuple[Lakehouse, subprocess.CompletedProcess[str]]:
    for table, names in FILES.items():
        run(lakehouse, "land", table, *(CASES / name for name in names))
    return lakehouse, run(lakehouse, "run", "--once", check=False)


def test_the_round_is_done_and_ends_with_the_names_of_what_was_refused(
    taken_in: tuple[Lakehouse, subprocess.CompletedProcess[str]],
) -> None:
    _, answer = taken_in
    assert answer.returncode == 0, answer.stderr
    told = answer.stderr.splitlines()
    published = [line for line in told if line.endswith(" published up to load 1")]
    assert [line.split(":")[0] for line in published] == ["network", "wearables"]
    drifted = told[told.index(published[-1]) + 1 : -2]
    assert all(line.startswith("Other columns than the declared ones: sbit.") for line in drifted)
    assert any("differs from the declared 'value' in case alone" in line for line in drifted)
    assert all(line.startswith("Refused, and kept in quarantine: telecom.") for line in told[-2:])
    assert {name for name in REFUSED for line in told[-2:] if name in line} == REFUSED
    assert "BYTE_STREAM_SPLIT" in answer.stderr
    assert "UTF-8" in answer.stderr


@pytest.mark.parametrize("name", [name for names in FILES.values() for name in names])
def test_each_file_is_told_with_its_reasons(
    taken_in: tuple[Lakehouse, subprocess.CompletedProcess[str]], name: str
) -> None:
    lakehouse, answer = taken_in
    rows = lakehouse.rows(f"select level, reason from audit.rejects where _source_file = '{name}'")
    found = Counter((row["level"], row["reason"]) for row in rows)
    expected = {told[1:]: many for told, many in REJECTS.items() if told[0] == name}
    assert found == expected
    refused = [line for line in answer.stderr.splitlines() if line.startswith("Refused, and kept")]
    assert any(name in line for line in refused) == (name in REFUSED)


def test_no_other_file_has_rejects(
    taken_in: tuple[Lakehouse, subprocess.CompletedProcess[str]],
) -> None:
    lakehouse, _ = taken_in
    found = lakehouse.rows("select distinct _source_file from audit.rejects")
    assert {row["_source_file"] for row in found} == {file for file, _, _ in REJECTS}


def test_a_refused_line_is_shown_whole(
    taken_in: tuple[Lakehouse, subprocess.CompletedProcess[str]],
) -> None:
    lakehouse, _ = taken_in
    shown = lakehouse.rows(
        "select _source_file, raw_text from audit.rejects where _source_file like 'two-events-%'"
    )
    for row in shown:
        lines = (CASES / row["_source_file"]).read_text().splitlines()
        assert row["raw_text"] in lines


def test_everything_else_is_in_gold(
    taken_in: tuple[Lakehouse, subprocess.CompletedProcess[str]],
) -> None:
    lakehouse, _ = taken_in
    contents = {
        table: [(name, (CASES / name).read_bytes()) for name in names if name not in REFUSED]
        for table, names in FILES.items()
    }
    deliveries = wearables.read_contents(
        {table: named for table, named in contents.items() if table.startswith("sbit.")}
    )
    expected = wearables.answers(deliveries, now=datetime.now(UTC)).plain()
    gold = lakehouse.gold()
    for mart in WEARABLES.marts:
        assert gold[mart] == sorted(expected[mart], key=repr), mart
    assert lakehouse.miscounts(expected, WEARABLES.accepted) == []
    expected = network.answers(
        network.read_contents(
            {
                table: [content for _, content in named]
                for table, named in contents.items()
                if table.startswith("telecom.")
            }
        ),
        ingested_at=datetime.now(UTC),
    )
    for mart in NETWORK.marts:
        columns = ", ".join(expected[mart][0])
        found = plain(lakehouse.rows(f"select {columns} from gold.{mart}"))
        assert found == sorted(expected[mart], key=repr), mart
    assert lakehouse.miscounts(expected, NETWORK.accepted) == []


def test_years_in_which_nothing_happens_cost_nothing(
    taken_in: tuple[Lakehouse, subprocess.CompletedProcess[str]],
) -> None:
    lakehouse, _ = taken_in
    events = lakehouse.value("select count(*) from silver.int_connections")
    # An event opens its session for at most 15 minutes: its own window and three more.
    assert lakehouse.value("select count(*) from gold.server_load") <= 4 * events
    assert lakehouse.value("select min(year(window_start)) from gold.server_load") == 2015


def test_only_a_null_in_so_many_words_deletes_a_profile(
    taken_in: tuple[Lakehouse, subprocess.CompletedProcess[str]],
) -> None:
    lakehouse, _ = taken_in
    current = lakehouse.rows(
        "select user_id from silver.dim_users_current where user_id in (6, 7, 8)"
    )
    assert {row["user_id"] for row in current} == {6, 7}


def test_the_next_round_works_as_if_nothing_had_been(
    taken_in: tuple[Lakehouse, subprocess.CompletedProcess[str]],
) -> None:
    lakehouse, _ = taken_in
    lakehouse.deliver(
        "sbit.gym_logins",
        "good.csv",
        b"mac_address,gym,login,logout\n02:00:00:00:00:01,77,1793494200,1793497200\n",
    )
    answer = run(lakehouse, "run", "--once")
    assert "Refused" not in answer.stderr
    [visit] = lakehouse.rows("select minutes_in_gym from gold.gym_summary where gym = 77")
    assert str(visit["minutes_in_gym"]) == "50.00"
