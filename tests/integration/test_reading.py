"""Drawn lines, messages and Parquet files: the engine reads what Python reads, or says why not.

All that is drawn goes in as one round, a file each, so that a difference names its line.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generators.network.tables import SCHEMAS
from tests.oracle.wearables import marts as wearables
from tests.support.lakehouse import Lakehouse

FILLER = '{"filler": 1}'
MESSAGES = "sbit.kafka_multiplex"
CONNECTIONS = "telecom.connections"
ENVELOPE = ("topic", "value", "key", "partition", "offset", "timestamp")
FIELDS = {
    "bpm": ("device_id", "time", "heartrate"),
    "gym": ("mac_address", "gym", "action", "time"),
    "workout": ("user_id", "workout_id", "session_id", "action", "timestamp"),
    "user_info": (
        *("user_id", "update_type", "timestamp", "dob", "sex", "gender"),
        *("first_name", "last_name", "address"),
    ),
    "weather": ("t",),
}
# JSON texts, the usual one of each field first.
USUAL = {
    "time": "1793494980",
    "timestamp": "1793494980",
    "heartrate": "61.5",
    "action": '"start"',
    "mac_address": '"02:00:00:00:00:01"',
    "update_type": '"new"',
    "dob": '"01/02/1990"',
    "address": '{"city": "Ulm", "zip": 89073}',
    "first_name": '"Ann"',
}
UNUSUAL = (
    *("null", "true", "0", "-0", "1.5", "[]", "{}", '""', '"x"', '"[x]"', '"}{"', '["]"]'),
    *("1793494980.25", "1793494980000", '"1793494980"', '"2026-11-01T01:03:00Z"', "1.7934949E9"),
    *('"1e-999999999"', '"1.79349E+12"', "1.79349e+09", "1e-99999", "1e400", '"1e400"'),
    *('{"city": {"a": 1}}', '{"city": []}', '"{\\"city\\": \\"Ulm\\"}"', '"\\u00e4\\ud83d\\ude00"'),
    *("99999999999999999999", '"02/30/1990"', '"delete"', '"Update"', '"stop"', '"NaN"'),
)
ENDS = ("", " ", "\t", "x", "}", "]", ",", "{}", " {}", ", {}", "] {", "null", ']}"', "//")


@st.composite
def objects(draw: Callable[[st.SearchStrategy[Any]], Any], texts: dict[str, str]) -> str:
    """A JSON object's text, mostly with these fields, and what may follow an object."""
    fields = [(name, text) for name, text in texts.items() if draw(st.integers(0, 9))]
    if not draw(st.integers(0, 9)):
        fields.append((draw(st.sampled_from([*texts, "extra", "Value"])), '"more"'))
    text = "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in fields) + "}"
    return text + (draw(st.sampled_from(ENDS)) if not draw(st.integers(0, 5)) else "")


@st.composite
def lines(draw: Callable[[st.SearchStrategy[Any]], Any]) -> str:
    topic = draw(st.sampled_from([*FIELDS]))
    usual = USUAL | ({"action": '"login"'} if topic == "gym" else {})
    told = {
        name: draw(st.sampled_from(UNUSUAL))
        if not draw(st.integers(0, 3))
        else usual.get(name, "7")
        for name in FIELDS[topic]
    }
    message = draw(objects(told))
    if draw(st.booleans()):
        message = json.dumps(message)  # a message as text
    elif not draw(st.integers(0, 9)):
        message = draw(st.sampled_from(["null", '"no JSON"', "7", '"null"', '"7"']))
    texts = dict.fromkeys(ENVELOPE, "1793494980") | {"topic": json.dumps(topic), "value": message}
    return draw(objects(texts))


def drawn(strategy: st.SearchStrategy[Any], number: int, *, is_deep: bool) -> list[Any]:
    found = []

    @settings(
        max_examples=number,
        derandomize=not is_deep,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(one: Any) -> None:
        found.append(one)

    collect()
    return found


class Pairs(list[tuple[str, Any]]):
    """An object of JSON with all its fields, also those that come twice."""


def read(line: str) -> Pairs | None:
    """The fields of a line in their order, or None where it is not one object."""
    try:
        pairs = json.loads(line, object_pairs_hook=Pairs, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return None
    return pairs if isinstance(pairs, Pairs) else None


def counts(line: str) -> Counter[tuple[str, str]]:
    """How many events, rejected rows and rejected fields of each entity plain Python sees."""
    deliveries = wearables.read_contents({MESSAGES: [("line", line.encode())]})
    now = datetime.now(UTC)
    told = wearables.answers(deliveries, now=now).plain()["entity_counts"]
    return Counter(
        {
            (entity, what): told[entity][what]
            for entity in told
            for what in ("events_in", "row_rejects", "field_rejects")
            if told[entity][what]
        }
    )


@pytest.mark.parametrize(
    "is_deep", [False, pytest.param(True, marks=pytest.mark.deep)], ids=["some", "many"]
)
def test_lines_are_read_as_plain_python_reads_them(lakehouse: Lakehouse, is_deep: bool) -> None:
    lakehouse.empty()
    told = {
        f"{number}.json": line
        for number, line in enumerate(
            dict.fromkeys(drawn(lines(), 2000 if is_deep else 400, is_deep=is_deep))
        )
    }
    for name, line in told.items():
        # A file without any object would be refused.
        lakehouse.deliver(MESSAGES, name, f"{line}\n{FILLER}\n".encode())
    load = lakehouse.ingest()
    assert load is not None
    assert not load.failures
    assert not load.refusals
    bronze = {
        row["_source_file"]: row
        for row in lakehouse.rows(
            f"select * from bronze.sbit_kafka_multiplex where not _raw <=> '{FILLER}'"
        )
    }
    for name, line in told.items():
        fields = read(line)
        is_exact = fields is not None and Counter(key for key, _ in fields) == Counter(ENVELOPE)
        assert bronze[name]["_raw"] == (None if is_exact else line), line
        for column in ENVELOPE:
            assert same(bronze[name][column], dict(fields or ()).get(column)), (column, line)
        unknown = {key: value for key, value in fields or () if key not in ENVELOPE}
        rescued = json.loads(bronze[name]["_rescued"] or "{}")
        assert rescued.keys() == {key for key, value in unknown.items() if value is not None}, line
        assert all(same(text, unknown[key]) for key, text in rescued.items()), line
    lakehouse.dbt("run", "--select", "path:models/staging/sbit")
    found: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for entity, view, field_reason in (
        ("unknown", "messages", "field_reject_reason"),
        ("profile_changes", "profile_changes", "field_reject_reason"),
        ("workout_events", "workout_events", "null"),  # it has no field to spare
        ("gym_events", "gym_events", "null"),
        ("heart_rates", "heart_rates", "field_reject_reason"),
    ):
        for row in lakehouse.rows(
            "select _source_file, reject_reason is not null as row_rejects, "
            f"{field_reason} is not null and reject_reason is null as field_rejects "
            f"from silver.stg_sbit__{view} where not raw_text <=> '{FILLER}'"
        ):
            counted = found[row["_source_file"]]
            counted[entity, "events_in"] += row["row_rejects"] or entity != "unknown"
            counted[entity, "row_rejects"] += row["row_rejects"]
            counted[entity, "field_rejects"] += row["field_rejects"]
    differing = {
        line: (+found[name], expected)
        for name, line in told.items()
        if +found[name] != (expected := counts(line))
    }
    assert not differing, "\n".join(f"{line}\n  {both}" for line, both in differing.items())


def same(text: str | None, value: Any) -> bool:
    """Whether a column's text is the value's: its own, or JSON of it."""
    if value is None or isinstance(value, str):
        return text == value
    try:
        return text is not None and as_json(json.loads(text)) == as_json(value)
    except ValueError:
        return False


def as_json(value: Any) -> str:
    """Of pairs and dicts alike; a number as its double, as Java has it where that is infinite."""
    if isinstance(value, Pairs | dict):
        value = dict(value)
        return json.dumps({key: as_json(one) for key, one in value.items()}, sort_keys=True)
    if isinstance(value, list):
        return json.dumps([as_json(one) for one in value])
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(repr(value))
        return (
            repr(number)
            if math.isfinite(number)
            else json.dumps("Infinity" if number > 0 else "-Infinity")
        )
    return json.dumps(value)


# --- Parquet

TYPES = {
    "bigint": [pa.int64(), pa.int32(), pa.uint64(), pa.float64(), pa.decimal128(20, 0)],
    "double": [pa.float64(), pa.float32(), pa.float16(), pa.int64()],
    "string": [
        *(pa.string(), pa.large_string(), pa.string_view(), pa.binary()),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    "timestamp": [
        *(pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC")),
        *(pa.date32(), pa.int64()),
    ],
}
ENCODINGS = {
    "bigint": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"],
    "double": ["PLAIN", "BYTE_STREAM_SPLIT"],
    "string": ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"],
    "timestamp": ["PLAIN", "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"],
}
CODECS = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]


@st.composite
def parquet_files(draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes | None:
    """A file of connections as pyarrow writes it; None where it cannot."""
    kinds = {
        field.name: next(kind for kind, types in TYPES.items() if types[0].id == field.type.id)
        for field in SCHEMAS[CONNECTIONS]
    }
    num_rows = draw(st.integers(0, 4))
    odd = draw(st.sampled_from([None, *kinds]))
    columns, encodings = {}, {}
    for name, kind in kinds.items():
        wanted = draw(st.sampled_from(TYPES[kind])) if name == odd else TYPES[kind][0]
        if kind == "timestamp" and name != odd:
            wanted = pa.timestamp("us", "UTC")
        numbers = st.sampled_from([0, 1, 7, 1_772_409_600, 2**31, 2**53, -(2**62)])
        values = [draw(st.none() | numbers) for _ in range(num_rows)]
        if kind == "string":
            values = [None if value is None else f"ü{value}" for value in values]
        try:
            columns[name] = pa.array(values).cast(pa.int64() if kind != "string" else pa.string())
            columns[name] = columns[name].cast(wanted)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return None
        encodings[name] = draw(st.sampled_from(ENCODINGS[kind]))
    has_dictionary = draw(st.booleans())
    buffer = BytesIO()
    try:
        pq.write_table(
            pa.table(columns),
            buffer,
            compression=draw(st.sampled_from(CODECS)),
            use_dictionary=has_dictionary,
            column_encoding=None if has_dictionary else encodings,
            version=draw(st.sampled_from(["1.0", "2.4", "2.6"])),
            data_page_version=draw(st.sampled_from(["1.0", "2.0"])),
            use_deprecated_int96_timestamps=draw(st.integers(0, 5)) == 0,
            write_statistics=draw(st.booleans()),
            write_page_checksum=draw(st.booleans()),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        return None
    return buffer.getvalue()


def of_duckdb(folder: Path) -> list[bytes]:
    """The same events in each version and codec that DuckDB writes."""
    files = []
    columns = ", ".join(
        {"timestamp": "timestamp '2026-03-02 10:00:00' + interval 1 second * i"}.get(
            str(field.type).partition("[")[0], f"cast(i as {kind})"
        )
        + f" as {field.name}"
        for field, kind in zip(
            SCHEMAS[CONNECTIONS],
            [*["bigint"] * 4, "varchar", "", "double", "double", "bigint"],
            strict=True,
        )
    )
    for number, (version, codec) in enumerate(
        (version, codec)
        for version in ("v1", "v2")
        for codec in ("uncompressed", "snappy", "gzip", "zstd", "brotli", "lz4", "lz4_raw")
    ):
        path = folder / f"{number}.parquet"
        duckdb.sql(
            f"copy (select {columns} from range(1, 4000) as numbers (i)) to '{path}' "
            f"(format parquet, codec '{codec}', parquet_version {version})"
        )
        files.append(path.read_bytes())
    return files


@pytest.mark.parametrize(
    "is_deep", [False, pytest.param(True, marks=pytest.mark.deep)], ids=["some", "many"]
)
def test_parquet_files_end_in_bronze_whole_or_in_quarantine(
    lakehouse: Lakehouse, tmp_path: Path, is_deep: bool
) -> None:
    lakehouse.empty()
    contents = drawn(parquet_files(), 600 if is_deep else 120, is_deep=is_deep)
    contents = [content for content in contents if content] + of_duckdb(tmp_path)
    told = {f"{number}.parquet": content for number, content in enumerate(dict.fromkeys(contents))}
    for name, content in told.items():
        lakehouse.deliver(CONNECTIONS, name, content)
    load = lakehouse.ingest()
    assert load is not None
    assert load.failures == []
    assert lakehouse.has_nothing_waiting()
    [source] = load.sources
    refused = dict(source.quarantined)
    assert all(refused.values())
    # Whatever the engine alone finds out, the gate should have known.
    assert [reason for reason in refused.values() if "the engine" in reason] == []
    held = {
        row["_source_file"]: (row["num_rows"], row["ids"])
        for row in lakehouse.rows(
            "select _source_file, count(*) as num_rows, sum(event_id) as ids "
            "from bronze.telecom_connections group by _source_file"
        )
    }
    for name, content in told.items():
        if name not in refused:
            rows = pq.read_table(BytesIO(content), columns=["event_id"])
            ids = [one for one in rows["event_id"].to_pylist() if one is not None]
            expected = (rows.num_rows, sum(ids) if ids else None)
            assert held.get(name, (0, None)) == expected, name
    assert len(refused) < len(told) - 20
