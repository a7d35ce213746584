"""The network's story against plain Python: in any order, twice, late and broken; and live."""

from __future__ import annotations

import random
import signal
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.errors import PySparkException

from generators.network.story import messages_of
from generators.network.tables import CONNECTIONS, SCHEMAS
from lakehouse.domains import JOURNAL, UPKEEP, append_state
from lakehouse.engine import local
from lakehouse.maintenance import delta_tables, keep_up
from tests.support.domains import DOMAINS, File
from tests.support.jdbc import what_differs
from tests.support.kafka import Broker
from tests.support.lakehouse import Lakehouse, plain, wait_until

NETWORK = DOMAINS["network"]
STORY = {"minutes": 30, "late": 0.1, "duplicates": 0.1, "corrupt": 0.01, "reversed_": True}
# A build under way with its tests, and the next: a minute on a machine that does nothing else.
BUILDS_SECONDS = 900


@pytest.fixture(scope="module")
def told(lakehouse: Lakehouse, kafka: Broker) -> tuple[Lakehouse, dict]:
    """The story in two loads, the later half first; some of it in both, some of it as messages."""
    lakehouse.domains = ("network",)
    files = NETWORK.files(7, STORY)
    later = lakehouse.build_half(files)
    sent = [file for file in later[::2] if file.table == CONNECTIONS and not file.is_refused]
    messages = [message for file in sent for message in messages_of(file.content)]
    kafka.send_messages(messages)
    lakehouse.deliver_files(file for file in later if file not in sent)
    both_ways = [in_other_bytes(file) for file in sent[::3]]
    lakehouse.deliver_files(both_ways)
    whole = [file for file in files if not file.is_refused and file not in sent]
    for file in random.Random(8).sample(whole, len(whole) // 5):
        name = PurePosixPath(file.name)
        lakehouse.deliver(file.table, str(name.with_name(f"again-{name.name}")), file.content)
    lakehouse.ingest()
    before = lakehouse.gold("gold", NETWORK.live)
    lakehouse.build()
    refused = sorted(file.full_name for file in files if file.is_refused)
    expected = NETWORK.answers([*files, *both_ways])
    expected["table_counts"][CONNECTIONS]["events_in"] -= len(messages)
    expected["table_counts"]["telecom.kafka_multiplex"] = {"events_in": len(messages)}
    return lakehouse, expected | {"refused_files": refused, "before": before}


def in_other_bytes(file: File) -> File:
    """The same rows in another file, which is then no file that has been seen."""
    content = BytesIO()
    pq.write_table(pq.read_table(BytesIO(file.content)), content, compression="none")
    name = PurePosixPath(file.name)
    other = str(name.with_name(f"other-{name.name}"))
    return file._replace(name=other, content=content.getvalue())


def test_a_live_view_needs_no_build(told: tuple[Lakehouse, dict]) -> None:
    """Half of the story was built, half of it had arrived, some of it in both."""
    _, expected = told
    for view, rows in expected["before"].items():
        assert rows == sorted(expected[view], key=repr)


@pytest.mark.parametrize("mart", [*NETWORK.marts, *NETWORK.live])
def test_the_mart_equals_the_expected_answer(told: tuple[Lakehouse, dict], mart: str) -> None:
    lakehouse, expected = told
    columns = ", ".join(expected[mart][0])
    assert plain(lakehouse.rows(f"select {columns} from gold.{mart}")) == sorted(
        expected[mart], key=repr
    )


def test_a_bi_tool_sees_the_marts_as_they_are(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, _ = told
    assert what_differs(lakehouse, (*NETWORK.marts, *NETWORK.live)) == []


def test_events_in_are_accepted_or_doubled_or_rejected(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, expected = told
    assert lakehouse.miscounts(expected, NETWORK.accepted) == []


def test_orphans_conflicts_and_strangers_are_listed(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, expected = told
    unmatched = lakehouse.rows(
        "select reason, sum(num_events) as num_events from audit.unmatched "
        "where entity = 'connections' group by reason"
    )
    assert {row["reason"]: row["num_events"] for row in unmatched} == expected["unmatched"]
    assert (
        lakehouse.value(
            "select sum(num_conflicts) from audit.conflicts where entity = 'connections'"
        )
        == expected["entity_counts"]["connections"]["conflicts"]
    )


def test_a_half_written_file_is_refused_and_the_rest_goes_on(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, expected = told
    assert lakehouse.refused_files() == expected["refused_files"]


def test_the_folders_of_the_delivery_are_kept(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, _ = told
    folders = lakehouse.rows(
        r"select distinct regexp_extract(_source_file, '^(.*)/', 1) as folder "
        "from bronze.telecom_connections order by folder"
    )
    assert {row["folder"] for row in folders} >= {
        "computer/connected",
        "computer/disconnected",
        "phone/connected",
        "phone/disconnected",
    }


@pytest.mark.deep
def test_every_model_gives_the_same_rows_with_ansi_mode_on_and_off(
    told: tuple[Lakehouse, dict],
) -> None:
    lakehouse, _ = told
    models = lakehouse.compiled("config.meta.domain:network")
    assert len(models) >= 18
    assert lakehouse.fingerprints(models, ansi=True) == lakehouse.fingerprints(models, ansi=False)


def test_a_full_refresh_changes_nothing(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, _ = told
    before = lakehouse.gold("gold_build", NETWORK.marts)
    lakehouse.build_untested("--full-refresh")
    assert lakehouse.gold("gold_build", NETWORK.marts) == before


def test_the_change_feed_gives_the_last_change_of_each_key(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, _ = told
    spark, before = local.session(lakehouse.settings), lakehouse.state("network")

    def changes(version: int | None) -> list[tuple]:
        """What a mart of the domain is given that has read the feed up to a version."""
        feeds = before.versions("feeds") | ({} if version is None else {"fed": version})
        number = lakehouse.state("network").number + 1
        told = replace(before, number=number, details=before.details | {"feeds": feeds})
        append_state(spark, "network", told, UPKEEP)
        lakehouse.dbt(
            "compile",
            "--inline",
            "{{ config(materialized='incremental', schema='gold_build', alias='server_load', "
            "meta={'domain': 'network'}) }} select * from {{ changes_since_built("
            "api.Relation.create(schema='silver', identifier='fed'), ['id']) }}",
        )
        compiled = lakehouse.settings.paths.root / "target" / "compiled" / "lakehouse"
        [query] = compiled.rglob("inline_query*")
        return sorted(
            (row["id"], row["word"], row["_change_type"])
            for row in lakehouse.rows(query.read_text())
        )

    columns = "(id int, word string, _load_id bigint) using delta"
    feed = "tblproperties ('delta.enableChangeDataFeed' = 'true')"
    lakehouse.rows(f"create or replace table silver.fed {columns} {feed}")  # version 0
    lakehouse.rows("insert into silver.fed values (1, 'a', 1), (2, 'b', 1), (3, 'c', 1)")
    lakehouse.rows("update silver.fed set word = 'A' where id = 1")
    lakehouse.rows("update silver.fed set word = 'AA' where id = 1")
    lakehouse.rows("delete from silver.fed where id = 2")  # version 4
    assert changes(None) == []  # never read: a full build, which reads the table itself
    assert changes(4) == []
    assert changes(1) == [(1, "AA", "update_postimage"), (2, "b", "delete")]
    assert changes(0) == [(1, "AA", "update_postimage"), (2, "b", "delete"), (3, "c", "insert")]
    # Replaced, with another schema: the feed starts there, with the rows that went.
    columns = columns.replace("id int", "id int, more string")
    lakehouse.rows(f"create or replace table silver.fed {columns} {feed}")
    assert changes(4) == [(1, "AA", "delete"), (3, "c", "delete")]
    lakehouse.rows("insert into silver.fed values (3, 'more', 'z', 2)")
    assert changes(4) == [(1, "AA", "delete"), (3, "z", "insert")]
    assert changes(5) == [(3, "z", "insert")]
    lakehouse.rows("drop table silver.fed")
    lakehouse.rows(f"delete from {JOURNAL} where number > {before.number}")


@pytest.mark.deep
def test_a_feed_that_was_replaced_is_read_from_there_on(told: tuple[Lakehouse, dict]) -> None:
    """What reads it is built anew with it: of a table replaced, the feed may not be readable."""
    lakehouse, _ = told
    before = lakehouse.gold("gold_build", NETWORK.marts)
    lakehouse.build_untested("--full-refresh", "--select", "consolidated")
    assert "bandwidth_summary" in lakehouse.state("network").pending
    lakehouse.build_untested()
    assert lakehouse.gold("gold_build", NETWORK.marts) == before
    [newest] = lakehouse.rows("describe history silver.consolidated limit 1")
    state = lakehouse.state("network")
    assert state.pending == []
    assert state.versions("feeds") == {"consolidated": newest["version"]}


@pytest.mark.deep
def test_upkeep_leaves_what_is_read(told: tuple[Lakehouse, dict]) -> None:
    """With no retention at all: readers and the next build find what they found before."""
    lakehouse, _ = told
    before = lakehouse.gold("gold", NETWORK.marts)
    spark = local.session(lakehouse.settings)
    bronze, feed, mart = (
        "bronze.telecom_connections",
        "silver.consolidated",
        "gold_build.server_load",
    )
    assert {bronze, feed, mart} < set(delta_tables(spark))
    for table in (bronze, feed, mart):  # a checkpoint, which lets the log before it go
        lakehouse.rows(f"alter table {table} set tblproperties ('delta.checkpointInterval' = '1')")
    done = {table: keep_up(spark, table, 0) for table in (bronze, feed, mart)}
    assert done[bronze].compacted > 0
    assert done[bronze].removed > 0
    assert done[bronze].log_entries > 0
    assert done[feed].log_entries == 0  # its reader stands before the checkpoint
    assert done[mart].log_entries == 0
    assert done[mart].removed == 0
    rows = f"select * from {JOURNAL} order by number"
    older = (
        f"insert into {JOURNAL} select domain, min(number) - 1, 1, 1, '{{}}', 'earlier', "
        f"max(recorded_at) - interval {{}} hour from {JOURNAL} group by domain"
    )
    lakehouse.rows(older.format("{}", 169))  # superseded today
    kept = lakehouse.rows(rows)
    lakehouse.rows(older.format("{}", 193))  # superseded more than a week ago
    keep_up(spark, JOURNAL, 0)
    assert lakehouse.rows(rows) == kept
    lakehouse.kill_engine()  # which remembers the logs that it has read
    assert lakehouse.gold("gold", NETWORK.marts) == before
    lakehouse.build_untested()
    assert lakehouse.gold("gold_build", NETWORK.marts) == before


def test_the_live_loop_stops_cleanly_and_survives_a_kill(told: tuple[Lakehouse, dict]) -> None:
    """A round, Ctrl-C; a kill in the middle of a round; and the next loop makes up for it.

    With a server that is new, an event of the day before and one of three hours ago.
    """
    lakehouse, _ = told
    last = lakehouse.value("select max(last_event_at) from gold.server_load")

    def deliver(number: int, *, server: int = 1, earlier: timedelta = timedelta(0)) -> None:
        later = SCHEMAS["telecom.connections"]
        row = {
            "event_id": 10**12 + number,
            "session_id": 10**12,
            "device_id": 10**12,
            "server_id": server,
            "event_type": "usage",
            "event_at": last + timedelta(seconds=number) - earlier,
            "asked_mbps": 1.0,
            "received_mbps": 1.0,
            "bytes": 1,
        }
        buffer = BytesIO()
        pq.write_table(pa.Table.from_pylist([row], schema=later), buffer)
        lakehouse.deliver(
            "telecom.connections", f"phone/connected/live-{number}.parquet", buffer.getvalue()
        )

    def seen(number: int, mart: str = "server_status") -> bool:
        moment = last + timedelta(seconds=number)
        return bool(lakehouse.value(f"select max(last_event_at) from gold.{mart}") == moment)

    events = "select count(*) from silver.int_connections where event_id > 1000000000000"
    with lakehouse.live() as process:
        deliver(1)
        wait_until(lambda: seen(1))
        deliver(301, server=999)  # the next window
        wait_until(lambda: seen(301))
        deliver(302, earlier=timedelta(days=1))
        deliver(303, earlier=timedelta(hours=3))
        wait_until(lambda: lakehouse.value(events) == 4, BUILDS_SECONDS)
        deliver(304)
        wait_until(lakehouse.has_nothing_waiting)  # landed, so in the middle of it
        process.kill()
        process.wait(60)
    deliver(1500)  # by when all sessions are lost that were open
    with lakehouse.live() as process:
        wait_until(lambda: seen(1500, "server_load"), BUILDS_SECONDS)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    assert lakehouse.value(events) == 6
    assert lakehouse.value("select count(*) from gold.server_load where server_id = 999") > 0
    before = lakehouse.gold("gold_build", ("server_load",))
    lakehouse.build_untested("--full-refresh", "--select", "server_load")
    assert lakehouse.gold("gold_build", ("server_load",)) == before


def test_the_table_of_a_mart_refuses_a_wrong_row(told: tuple[Lakehouse, dict]) -> None:
    lakehouse, _ = told
    with pytest.raises(PySparkException, match="CHECK constraint bandwidth_is_not_negative"):
        lakehouse.rows(
            "insert into gold_build.server_load by name select * except (bandwidth_used_mbps), "
            "-1d as bandwidth_used_mbps from gold_build.server_load limit 1"
        )
