"""The real data set by broker and database: the same gold as by file, also where both fail."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from generators.kafka import Message
from ingestion.feeds.postgres import pulls
from tests.support.domains import DOMAINS, File
from tests.support.kafka import Broker
from tests.support.lakehouse import Lakehouse, run, wait_until
from tests.support.postgres import Server
from tests.support.set_1 import SET_1, SET_1_FILES

# Who was in gym 1 for 75 minutes.
MAC = "57:24:ac:8c:75:ea"


def insert(postgres: Server, table: str, rows: list[dict[str, str]]) -> None:
    times = {"registration_timestamp": "registered_at", "login": "login", "logout": "logout"}
    with postgres.connect() as database:
        for row in rows:
            names = [times.get(name, name) for name in row]
            values = ["to_timestamp(%s)" if name in times else "%s" for name in row]
            database.execute(
                f"insert into {table} ({', '.join(names)}) values ({', '.join(values)})",
                [value or None for value in row.values()],
            )


def rows_of(name: str) -> list[dict[str, str]]:
    with (SET_1 / name).open() as file:
        return list(csv.DictReader(file))


def messages() -> Iterator[Message]:
    for name in SET_1_FILES["sbit.kafka_multiplex"]:
        path = Path(SET_1 / name)
        text = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
        for line in filter(str.strip, text.decode().splitlines()):
            message = json.loads(line)
            value = message["value"]
            yield Message(
                message["topic"],
                str(message["key"]).encode(),
                (value if isinstance(value, str) else json.dumps(value)).encode(),
                int(message["timestamp"]) * (1000 if message["timestamp"] < 1e11 else 1),
            )


def is_as_by_file(gold: dict[str, list[dict[str, Any]]]) -> bool:
    """Whether gold is, row for row, what plain Python makes of the files."""
    files = [
        File(table, name, (SET_1 / name).read_bytes(), False)
        for table, names in SET_1_FILES.items()
        for name in names
    ]
    expected = DOMAINS["wearables"].answers(files)
    return all(rows == sorted(expected[mart], key=repr) for mart, rows in gold.items())


def test_by_broker_and_database_gold_is_the_same(
    lakehouse: Lakehouse, kafka: Broker, postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert(postgres, "registrations", rows_of("1-registered_users_1.csv"))
    insert(postgres, "gym_visits", rows_of("5-gym_logins_1.csv"))
    kafka.send_messages(messages())
    told = run(lakehouse, "run", "--once")
    assert "load 1: sbit.kafka_multiplex: files 0, rows 253824" in told.stderr
    gold = lakehouse.gold()
    assert [row["num_readings"] for row in gold["workout_bpm_summary"]].count(3900) == 1
    assert is_as_by_file(gold)
    assert lakehouse.value("select count(*) from audit.rejects") == 0
    files = list(lakehouse.settings.paths.inbox.rglob("*.parquet"))
    assert files == []
    status = run(lakehouse, "status").stdout
    assert "253801" in status  # the end of the topic bpm
    # Upkeep leaves alone what was pulled last, or nobody would know what is gone.
    assert lakehouse.forget_files() == 2
    # An hour later all rows are compared: what is gone is as if it had never been, up to a point.
    monkeypatch.setattr(pulls, "_now", lambda: datetime.now(UTC) + timedelta(hours=1))
    with postgres.connect() as database:
        database.execute("delete from gym_visits where gym = 1 and mac_address = %s", [MAC])
        database.execute(
            "update gym_visits set logout = logout + interval '10 minutes', updated_at = now() "
            "where gym = 3 and login = (select min(login) from gym_visits where gym = 3)"
        )
    lakehouse.ingest()
    lakehouse.build_untested()
    assert minutes(gold["gym_summary"]) - minutes(lakehouse.gold("gold_build")["gym_summary"]) == {
        (1, MAC, "75.00"),
        (3, "36:1f:d9:d3:e8:0d", "135.00"),
    }
    assert (3, "36:1f:d9:d3:e8:0d", "145.00") in minutes(
        lakehouse.gold("gold_build")["gym_summary"]
    )
    with postgres.connect() as database:
        database.execute("delete from gym_visits")
    monkeypatch.setattr(pulls, "_now", lambda: datetime.now(UTC) + timedelta(hours=2))
    stopped = lakehouse.ingest()
    assert stopped is not None
    assert "7 of 7 rows are gone from public.gym_visits" in stopped.failures[0]


def minutes(rows: list[dict[str, object]]) -> set[tuple[object, ...]]:
    return {(row["gym"], row["mac_address"], str(row["minutes_in_gym"])) for row in rows}


@pytest.mark.deep
def test_live_with_servers_that_stop_and_are_killed_gold_is_the_same(
    lakehouse: Lakehouse, kafka: Broker, postgres: Server
) -> None:
    lakehouse.empty()
    visits = rows_of("5-gym_logins_1.csv")
    told = list(messages())
    with lakehouse.live():
        insert(postgres, "gym_visits", visits[:3])
        kafka.send_messages(told[:100_000])
        kafka.kill()
        insert(postgres, "gym_visits", visits[3:])
        kafka.start()
        postgres.stop()
        kafka.send_messages(told[100_000:200_000])
        postgres.start()
        insert(postgres, "registrations", rows_of("1-registered_users_1.csv"))
        with postgres.connect() as database:
            database.execute("update gym_visits set updated_at = now()")
        postgres.restart()
        kafka.stop()
        kafka.start()
        kafka.send_messages(told[200_000:])
        wait_until(lambda: counts(lakehouse) == [8, 5, len(told)], 900)
    lakehouse.ingest()  # closes the load that the loop was in when it ended
    lakehouse.build()
    assert is_as_by_file(lakehouse.gold())


def counts(lakehouse: Lakehouse) -> list[int]:
    """The visits, registrations and messages that bronze has, pulled ones once a key."""
    [row] = lakehouse.rows(
        "select (select count(distinct _pull_key) from bronze.sbit_gym_logins) as visits, "
        "(select count(distinct _pull_key) from bronze.sbit_registered_users) as registrations, "
        "(select count(*) from bronze.sbit_kafka_multiplex) as messages"
    )
    return list(row.values())


def test_a_connection_that_cannot_be_is_told(
    lakehouse: Lakehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_POSTGRES_SBIT", "host=nowhere.invalid password=s3cret options=x")
    told = run(lakehouse, "ingest", check=False)
    assert told.returncode == 1
    assert "LAKEHOUSE_POSTGRES_SBIT is no connection" in told.stderr
    assert "s3cret" not in told.stderr
    assert "Traceback" not in told.stderr
