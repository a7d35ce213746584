"""From the inbox to bronze on a real engine: exactly once, and the bad beside the good."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from ingestion.loads import LoadError, only_ingestion
from ingestion.lock import LockedError
from tests.integration.conftest import House

HEADER = "mac_address,gym,login,logout\n"
HOSTILE_NAMES = [
    "_x.csv",
    "a:b.csv",
    "[x]{y}*?.csv",
    "with space and ü.csv",
    "n" * 255,
    "n" * 244,
    "it's.csv",
]


def logins(*rows: str) -> bytes:
    return (HEADER + "".join(f"{row}\n" for row in rows)).encode()


def rows_by_file(house: House, table: str = "sbit_gym_logins") -> dict[str, int]:
    return {
        row["_source_file"]: row["n"]
        for row in house.rows(
            f"select _source_file, count(*) as n from bronze.{table} group by _source_file"
        )
    }


def test_hostile_names_and_broken_files_stop_nobody(house: House) -> None:
    for number, name in enumerate(HOSTILE_NAMES):
        house.deliver("sbit.gym_logins", name, logins(f"02:00:00:00:00:01,1,{number},"))
    house.deliver("sbit.gym_logins", "sub/folder/x.csv", logins("02:00:00:00:00:01,1,77,"))
    house.deliver("sbit.gym_logins", "header.csv", b"gym,mac_address,login,logout\n1,2,3,4\n")
    whole = gzip.compress(b'{"topic": "bpm"}\n' * 1000)
    house.deliver("sbit.kafka_multiplex", "cut.json.gz", whole[:-20])
    house.deliver("sbit.kafka_multiplex", "picture.json", b"\x89PNG\r\n\x1a\n\xff\xfe")
    load = house.ingest()
    assert load is not None
    assert rows_by_file(house) == dict.fromkeys([*HOSTILE_NAMES, "sub/folder/x.csv"], 1)
    refused = {name: reason for source in load.sources for name, reason in source.quarantined}
    assert set(refused) == {"header.csv", "cut.json.gz", "picture.json"}
    quarantine = house.settings.paths.quarantine
    assert len(list(quarantine.rglob("*.reason.txt"))) == 3
    assert not any(path.is_file() for path in house.settings.paths.inbox.rglob("*"))


def test_bad_lines_enter_bronze_raw(house: House) -> None:
    deep = '{"topic":' + "[" * 5000 + "]" * 5000 + "}"
    lines = [
        '{"topic": "bpm", ',
        "not json",
        deep,
        '{"topic": "bpm", "extra": 1}',
        "[1]",
        '{"topic": "a", "topic": "b"}',
    ]
    house.deliver("sbit.kafka_multiplex", "bad.json", "\n".join(lines).encode())
    too_many = ",".join(["x"] * 19_000)
    csv_lines = ["a,b", "a,b,c,d,e", '"unclosed,1,2,3', "nul\0,1,2,3", too_many]
    house.deliver("sbit.gym_logins", "bad.csv", logins(*csv_lines, "02:00:00:00:00:01,1,99,"))
    load = house.ingest()
    assert load is not None
    assert [source.failure for source in load.sources] == [None, None]
    raw = house.rows("select _raw from bronze.sbit_kafka_multiplex where _source_file = 'bad.json'")
    assert sorted(row["_raw"] for row in raw) == sorted(lines)
    counted = rows_by_file(house)["bad.csv"]
    assert counted == len(csv_lines) + 1
    raw = house.rows(
        "select _raw from bronze.sbit_gym_logins "
        "where _source_file = 'bad.csv' and _raw is not null"
    )
    assert {"a,b", "a,b,c,d,e", too_many} <= {row["_raw"] for row in raw}


def test_every_file_counts_once_whatever_it_is_called(house: House) -> None:
    content = logins("02:00:00:00:00:02,2,100,", "02:00:00:00:00:02,2,200,")
    house.deliver("sbit.gym_logins", "one.csv", content)
    house.deliver("sbit.gym_logins", "two.csv", content)
    house.ingest()
    house.deliver("sbit.gym_logins", "three.csv", content)
    load = house.ingest()
    assert load is not None
    assert load.sources[0].duplicates == 1
    assert house.value("select count(*) from bronze.sbit_gym_logins where gym = '2'") == 2


def test_all_rows_of_a_file_are_in_bronze(house: House) -> None:
    """G1: per file, the rows that the gate counted are the rows that bronze holds."""
    counted = {
        row["sha256"]: row["num_rows"]
        for row in house.rows("select sha256, num_rows from audit.files where status = 'landed'")
    }
    held = {
        row["_source_sha256"]: row["n"]
        for table in ("sbit_gym_logins", "sbit_kafka_multiplex")
        for row in house.rows(
            f"select _source_sha256, count(*) as n from bronze.{table} group by _source_sha256"
        )
    }
    assert held == counted


def test_a_kill_between_bronze_and_checkpoint_doubles_nothing(house: House) -> None:
    house.deliver("sbit.gym_logins", "killed.csv", logins("02:00:00:00:00:03,3,100,"))
    house.ingest()
    house.kill_engine()
    house.lose_commit("sbit.gym_logins")
    house.deliver("sbit.gym_logins", "next.csv", logins("02:00:00:00:00:03,3,200,"))
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins where gym = '3'") == 2


def test_a_load_is_closed_after_all_its_sources(house: House) -> None:
    rows = house.rows("select * from audit.loads order by load_id, recorded_at")
    loads = sorted({row["load_id"] for row in rows})
    assert loads == list(range(1, len(loads) + 1))
    for load_id in loads:
        statuses = [row["status"] for row in rows if row["load_id"] == load_id]
        assert statuses.count("closed") == 1
        assert statuses.count("finished") == len(statuses) - 1


def crash_before_the_move(house: House) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingestion.loads.land", fail)
        with pytest.raises(KeyboardInterrupt):
            house.ingest()


def test_a_crash_after_the_files_were_written_down_is_made_up_for(house: House) -> None:
    """The fate of a file is recorded before it is moved: here the move does not come about."""
    house.deliver("sbit.gym_logins", "moved.csv", logins("02:00:00:00:00:04,4,100,"))
    crash_before_the_move(house)
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins where gym = '4'") == 1


def test_a_file_that_went_away_in_a_crash_may_come_later(house: House) -> None:
    content = logins("02:00:00:00:00:04,40,100,")
    house.deliver("sbit.gym_logins", "late.csv", content)
    crash_before_the_move(house)
    (house.settings.paths.inbox / "sbit.gym_logins" / "late.csv").unlink()
    house.deliver("sbit.gym_logins", "other.csv", logins("02:00:00:00:00:04,41,100,"))
    house.ingest()
    house.deliver("sbit.gym_logins", "late.csv", content)
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins where gym = '40'") == 1


def test_what_bronze_has_is_forgotten_and_known_all_the_same(house: House) -> None:
    source = "sbit.gym_logins"
    content = logins("02:00:00:00:00:06,6,100,")
    house.deliver(source, "first.csv", content)
    house.ingest()
    before = house.value("select count(*) from bronze.sbit_gym_logins")
    num_files = len(files_below(house.settings.paths.landing))
    assert house.forget_files() == num_files
    assert not files_below(house.settings.paths.landing)
    assert len(files_below(house.settings.paths.archive)) == num_files
    house.deliver(source, "again.csv", content)
    house.deliver(source, "second.csv", logins("02:00:00:00:00:06,6,200,"))
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before + 1
    # A crash of a later load does not make them unknown.
    house.forget_files()
    house.deliver(source, "third.csv", logins("02:00:00:00:00:06,6,300,"))
    crash_before_the_move(house)
    house.deliver(source, "again.csv", content)
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before + 2


def test_a_crash_while_files_are_forgotten_is_made_up_for(house: House) -> None:
    source = "sbit.gym_logins"
    house.forget_files()
    before = house.value("select count(*) from bronze.sbit_gym_logins")
    checkpoint = house.settings.paths.checkpoints / source
    forgotten = checkpoint / "forgotten"
    saved = forgotten.read_text()
    forgotten.rename(checkpoint / ".forgotten")
    (checkpoint / "offsets").mkdir()
    (checkpoint / "offsets" / "0").write_text("half of an old one")
    house.deliver(source, "fourth.csv", logins("02:00:00:00:00:06,6,400,"))
    load = house.ingest()
    assert load
    assert not load.failures
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before + 1
    # An empty checkpoint that knows less than bronze has is none to go on with.
    kept = checkpoint.with_name("kept")
    shutil.move(checkpoint, kept)
    checkpoint.mkdir()
    forgotten.write_text(saved)
    house.deliver(source, "fifth.csv", logins("02:00:00:00:00:06,6,500,"))
    load = house.ingest()
    assert load
    assert "is missing although" in load.failures[0]
    shutil.rmtree(checkpoint)
    shutil.move(kept, checkpoint)
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before + 2


def test_files_that_bronze_lacks_are_not_forgotten(house: House) -> None:
    source = "sbit.gym_logins"
    house.deliver(source, "lost.csv", logins("02:00:00:00:00:07,7,100,"))
    house.ingest()
    house.rows("delete from bronze.sbit_gym_logins where gym = '7'")
    with pytest.raises(LoadError, match="has no row of 1 files"):
        house.forget_files()
    [path] = [path for path in files_below(house.settings.paths.landing) if "lost" in path.name]
    path.unlink()


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_nothing_new_opens_no_load(house: House) -> None:
    assert house.ingest() is None


def test_a_second_ingestion_refuses_and_names_the_first(house: House) -> None:
    with (
        only_ingestion(house.settings.paths),
        pytest.raises(LockedError, match=f"Process {os.getpid()} ingests"),
        only_ingestion(house.settings.paths),
    ):
        pytest.fail("the second one was let in")


def test_a_lost_checkpoint_is_refused_not_taken_in_twice(house: House) -> None:
    checkpoint = house.settings.paths.checkpoints / "sbit.gym_logins"
    saved = checkpoint.with_name("saved")
    before = house.value("select count(*) from bronze.sbit_gym_logins")
    shutil.move(checkpoint, saved)
    house.deliver("sbit.gym_logins", "later.csv", logins("02:00:00:00:00:05,5,100,"))
    load = house.ingest()
    assert load is not None
    assert "is missing although" in (load.sources[0].failure or "")
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before
    shutil.rmtree(checkpoint, ignore_errors=True)
    shutil.move(saved, checkpoint)
    house.ingest()
    assert house.value("select count(*) from bronze.sbit_gym_logins") == before + 1
