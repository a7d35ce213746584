"""What holds at the gate for every content and every name, not only for those thought of."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st

from ingestion import gate
from ingestion.declaration import Column, SourceTable
from ingestion.gate import Inspection
from ingestion.home import Home

COLUMNS = (Column("id", "string"), Column("name", "string"))
CSV = SourceTable("s", "c", "s_c", COLUMNS, "csv", ("id",))
JSON = SourceTable("s", "j", "s_j", COLUMNS, "json", ("id",))
PARQUET = SourceTable("s", "p", "s_p", COLUMNS, "parquet", ("id",))

often = settings(max_examples=200, deadline=None)
with_files = settings(max_examples=60, deadline=None)


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"id": ["1", None, "3"], "name": ["a", "a", "é"]})
    pq.write_table(table, sink, compression="gzip", row_group_size=2)
    content: bytes = sink.getvalue().to_pybytes()
    return content


WHOLE = {
    CSV: b"id,name\r\n1,a\n2,\xc3\xa9\n",
    JSON: b'{"id": 1}\nbroken\n{"id": "\xc3\xa9"}\n',
    PARQUET: parquet(),
}
PIECES = (
    *(b"\n", b"\r", b"\r\n", b"\0", b" ", b",", b'"', b"\xc3\xa9", b"\xff", b"\xef\xbb\xbf"),
    *(b"{", b"}", b"{}", b'{"id": 1}', b"[1]", b"id,name", b'"id","name"', b"1,a", b",,"),
    *(b"\x1f\x8b", b"PK\x03\x04", b"\xff\xfe", b"PAR1"),
)
STARTS = (
    b"",
    b"id,name\n",
    b"\xef\xbb\xbfid,name\r",
    b"\r\n\r\nid,name\r\n",
    b"{}\r",
    b"\n[1]\n{}\n",
)
texts = st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join)
names = st.lists(
    st.sampled_from(("a", "=", "=41", "-", ".", "/", " ", "é", "\\xff", "n" * 60, "é" * 30)),
    min_size=1,
    max_size=6,
).map("".join)


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[SourceTable, bytes]:
    """A whole file, a damaged one, a part, or none at all; as it is or packed."""
    table = draw(st.sampled_from((CSV, JSON, PARQUET)))
    whole = WHOLE[table]
    content = draw(st.just(whole) | damaged(whole) | texts)
    packed = gzip.compress(content)
    return table, draw(st.just(content) | st.just(packed) | damaged(packed))


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    at = draw(st.integers(0, len(content)))
    rest = content[at + draw(st.integers(0, 2)) :]
    return content[:at] + draw(st.binary(max_size=4)) + draw(st.sampled_from((rest, b"")))


def in_chunks(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


def num_rows(chunks: Iterator[bytes], table: SourceTable) -> int | None:
    """None where the text is refused."""
    try:
        return gate.count_rows(chunks, table)[0]
    except gate._Refused:
        return None


def naive_num_rows(text: bytes, table: SourceTable) -> int | None:
    """The same by the words of the gate, from the text as a whole."""
    lines = re.split(rb"\r\n|\n|\r", text)
    marks = (b"\x1f\x8b", b"PK\x03\x04", b"\xff\xfe")
    marked = text.startswith((*marks, b"\xef\xbb\xbf") if table is JSON else marks)
    if marked or max(map(len, lines)) > gate.MAX_LINE_BYTES:
        return None
    try:
        decoded = [line.decode() for line in lines]
    except UnicodeDecodeError:
        return None
    decoded[0] = decoded[0].removeprefix("\ufeff")
    filled = [line for line in decoded if any(character > " " for character in line)]
    if table is JSON:
        return len(filled) if any(map(is_object, filled)) else None
    most_commas = max(line.count(",") for line in decoded)
    is_headed = bool(filled) and is_header(filled[0])
    return len(filled) - 1 if is_headed and most_commas < gate.MAX_CSV_FIELDS else None


def is_header(line: str) -> bool:
    """Whether the key is there and no name is repeated, case aside."""
    try:
        names = [name.lower() for name in next(csv.reader([line], strict=True))]
    except csv.Error:
        return False
    return "id" in names and len(set(names)) == len(names)


def is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line.strip("\0 "), strict=False), dict)
    except ValueError:
        return False


@often
@given(st.sampled_from((CSV, JSON)), st.sampled_from(STARTS), texts, st.integers(1, 20))
@example(CSV, b"id,name\n", b",,,", 1)  # as many bytes as fields may be, and a field more
def test_what_is_accepted_and_its_rows_do_not_depend_on_how_the_text_is_cut(
    table: SourceTable, start: bytes, rest: bytes, size: int
) -> None:
    text = start + rest
    with mock.patch.multiple(gate, MAX_LINE_BYTES=14, MAX_CSV_FIELDS=3):
        assert num_rows(in_chunks(text, size), table) == naive_num_rows(text, table)


header_names = st.lists(
    st.sampled_from(("id", "name", "ID", "Name", "x", " id", "", 'i"d', "id,name"))
)


@often
@given(st.just(["id", "name"]) | header_names, st.booleans())
@example(["Name", "x", "ID"], False)
def test_a_header_is_read_however_quoted_and_refused_where_columns_cannot_be_told_apart(
    fields: list[str], is_quoted: bool
) -> None:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL).writerow(fields)
    names = [name.lower() for name in fields]
    try:
        rows, drift = gate.count_rows(iter([line.getvalue().encode() + b"1,a\n"]), CSV)
    except gate._Refused:
        assert "id" not in names or len(set(names)) < len(names)
        return
    assert rows == 1
    assert "id" in names
    assert len(set(names)) == len(names)
    assert [column.name for column in drift.unknown] == [
        name for name in fields if name.lower() not in ("id", "name")
    ]
    assert drift.missing == (() if "name" in names else ("name",))
    assert drift.is_transcribed == (names != ["id", "name"])


@often
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 40), st.data())
def test_gzip_expands_to_its_text_and_a_part_of_it_is_refused(
    members: list[bytes], size: int, data: st.DataObject
) -> None:
    packed = [gzip.compress(member) for member in members]
    whole = b"".join(packed)
    with mock.patch.object(gate, "_CHUNK_BYTES", 3):
        assert b"".join(gate.gunzip(in_chunks(whole, size))) == b"".join(members)
    ends = {sum(map(len, packed[:n])) for n in range(1, len(packed) + 1)}
    cut = data.draw(st.integers(0, len(whole)).filter(lambda at: at not in ends))
    try:
        list(gate.gunzip(in_chunks(whole[:cut], size)))
    except gate._Refused:
        return
    raise AssertionError(f"{cut} of {len(whole)} bytes were taken for a whole file")


@often
@given(deliveries(), st.sampled_from(("a.file", "a.gz")))
def test_any_bytes_are_accepted_or_refused_and_stay_as_they_came(
    delivery: tuple[SourceTable, bytes], name: str
) -> None:
    table, content = delivery
    with TemporaryDirectory() as folder:
        home = Home(Path(folder))
        inspection = inspect(home, table, content, name)
        assert (inspection.num_rows is None) == bool(inspection.reason)
        moved = (gate.quarantine if inspection.reason else gate.land)(home, inspection)
        if inspection.drift.is_transcribed:
            [moved] = (home.archive / table.full_name / "delivered").iterdir()
        assert moved.read_bytes() == content
        assert gate.waiting_files(home, table) == []
        if content == WHOLE[table] and name == "a.file":
            assert inspection.num_rows == {CSV: 2, JSON: 3, PARQUET: 3}[table]


def inspect(home: Home, table: SourceTable, content: bytes, name: str) -> Inspection:
    inbox = home.inbox / table.full_name
    inbox.mkdir(parents=True, exist_ok=True)
    (inbox / name).write_bytes(content)
    return gate.inspect(inbox / name, table, inbox)


@with_files
@given(
    st.lists(st.tuples(names, st.sampled_from((b"id,name\n", b"id,name\n1,a\n", b"?", b"")))),
    st.sampled_from(("", "d" * 150 + "/" + "é" * 60)),
)
def test_no_file_takes_the_place_of_another(
    delivered: list[tuple[str, bytes]], folder: str
) -> None:
    landed: set[tuple[str, bytes]] = set()
    quarantined: dict[Path, tuple[str, bytes]] = {}
    with TemporaryDirectory() as root:
        home = Home(Path(root))
        for tail, content in delivered:
            name = folder + tail
            inspection = replace(inspect(home, CSV, content, "a"), name=name)
            if inspection.reason:
                quarantined[gate.quarantine(home, inspection)] = name, content
            else:
                gate.land(home, inspection)
                landed.add((name, content))
        assert set(quarantined.values()) == {
            (folder + tail, content) for tail, content in delivered if len(content) < 2
        }
        for path, (name, content) in quarantined.items():
            assert path.read_bytes() == content
            told = path.with_name(f"{path.name}.reason.txt").read_text(encoding="utf-8")
            assert told.startswith(f"name: {name!r}\nreason: ")
        files = [path for path in home.landing.rglob("*") if path.is_file()]
        assert landed == {(gate.delivered_name(str(path)), path.read_bytes()) for path in files}
        assert len(landed) == len(files)


@often
@given(names, names, names)
def test_no_two_names_of_one_content_meet_in_landing(start: str, one: str, other: str) -> None:
    paths = [
        gate.landing_path(
            Home(Path("/h")),
            Inspection(CSV, Path("x"), start + end, "0f" * 32, 0, 0, "csv", None, (0, 0, 0)),
        )
        for end in (one, other)
    ]
    assert (paths[0] == paths[1]) == (one == other)
    assert not {*paths[0].parents, *paths[1].parents} & set(paths)
    assert [gate.delivered_name(str(path)) for path in paths] == [start + one, start + other]


INT64, INT32 = (-(2**63), 2**63 - 1), (-(2**31), 2**31 - 1)
# Per declared type: Arrow's type, the bounds of its integers, those among them that Spark holds.
TYPES: dict[str, list[tuple[pa.DataType, tuple[int, int], tuple[int, int]]]] = {
    "bigint": [(pa.int64(), INT64, INT64)],
    "int": [(pa.int32(), INT32, INT32)],
    "date": [(pa.date32(), INT32, INT32)],
    "double": [(pa.float64(), INT64, INT64)],
    "boolean": [(pa.bool_(), (0, 1), (0, 1))],
    "timestamp": [
        (pa.timestamp("us"), INT64, INT64),
        (pa.timestamp("us", "UTC"), INT64, INT64),
        (pa.timestamp("ms"), INT64, (-9_223_372_036_854_775, 9_223_372_036_854_775)),
        (pa.timestamp("ms", "UTC"), INT64, (-9_223_372_036_854_775, 9_223_372_036_854_775)),
    ],
    "decimal(9,2)": [(pa.decimal128(9, 2), (1 - 10**10, 10**10 - 1), (1 - 10**9, 10**9 - 1))],
    "decimal(38,9)": [(pa.decimal128(38, 9), (1 - 10**38, 10**38), (1 - 10**38, 10**38 - 1))],
}
# What Spark 4.2 was seen to refuse: a layout of numbers, and a codec that it does not bring.
UNREAD_ENCODING, UNREAD_CODEC = "BYTE_STREAM_SPLIT", "brotli"


@st.composite
def columns(draw: st.DrawFn) -> tuple[str, pa.Array, bool]:
    """A declared type, a column that fits it, and whether Spark holds all of its values."""
    declared = draw(st.sampled_from(("string", *TYPES)))
    if declared == "string":
        texts = draw(st.lists(st.none() | st.binary(max_size=5) | st.text().map(str.encode)))
        whole = pa.array(texts, pa.binary()).view(pa.string())
        kind = draw(st.sampled_from((pa.string(), pa.large_string(), None)))
        array = whole.cast(kind) if kind else whole.dictionary_encode()
        return declared, array, all(text is None or is_utf_8(text) for text in texts)
    kind, (least, greatest), (first, last) = draw(st.sampled_from(TYPES[declared]))
    edges = st.sampled_from((least, greatest, first, last, 0))
    values = draw(st.lists(st.none() | edges | st.integers(least, greatest)))
    if kind == pa.bool_():
        flags = [None if value is None else bool(value) for value in values]
        return declared, pa.array(flags, kind), True
    width = kind.bit_width // 8
    raw = b"".join((value or 0).to_bytes(width, "little", signed=True) for value in values)
    there = pa.array([value is not None for value in values], pa.bool_())
    array = pa.Array.from_buffers(kind, len(values), [there.buffers()[1], pa.py_buffer(raw)])
    return declared, array, all(value is None or first <= value <= last for value in values)


def is_utf_8(text: bytes) -> bool:
    try:
        return bool(text.decode()) or not text
    except UnicodeDecodeError:
        return False


@often
@given(
    columns(),
    st.sampled_from(
        (
            None,
            *("PLAIN", "RLE", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY"),
            *("DELTA_BYTE_ARRAY", UNREAD_ENCODING),
        )
    ),
    st.sampled_from(("none", "snappy", "gzip", "zstd", "lz4", UNREAD_CODEC)),
    st.sampled_from(("1.0", "2.0")),
    st.booleans(),
    st.integers(1, 100),
)
def test_parquet_is_accepted_where_spark_reads_it_and_holds_its_values(  # noqa: PLR0917
    column: tuple[str, pa.Array, bool],
    encoding: str | None,
    codec: str,
    pages: str,
    is_option: bool,
    group_rows: int,
) -> None:
    declared, array, is_held = column
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(
            pa.table({"x": array}),
            sink,
            compression=codec,
            data_page_version=pages,
            row_group_size=group_rows,
            column_encoding={"x": encoding} if encoding else None,
            use_dictionary=encoding is None,
            store_decimal_as_integer=is_option,
            write_statistics=is_option,
            write_page_checksum=is_option,
        )
    except (pa.ArrowException, OSError):
        reject()  # an encoding that is not for this type
    table = replace(PARQUET, columns=(Column("x", declared),), key=("x",))
    with TemporaryDirectory() as folder:
        found = inspect(Home(Path(folder)), table, sink.getvalue().to_pybytes(), "a.parquet")
    is_read = not len(array) or (encoding != UNREAD_ENCODING and codec != UNREAD_CODEC)
    assert (found.reason is None) == (is_read and is_held), found.reason
    assert found.num_rows == (None if found.reason else len(array))
