import base64
import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.orc
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ingestion import gate
from ingestion.declaration import Column, SourceTable
from ingestion.drift import Drift
from ingestion.gate import GateError, Inspection, StillBeingWritten
from ingestion.home import Home

CSV = SourceTable(
    "s", "c", "s_c", (Column("id", "string"), Column("name", "string")), "csv", ("id",), "rescue"
)
JSON = SourceTable("s", "j", "s_j", (Column("id", "string"),), "json", ("id",))
PARQUET = SourceTable(
    "s",
    "p",
    "s_p",
    (
        Column("id", "bigint"),
        Column("text", "string"),
        Column("at", "timestamp"),
        Column("price", "decimal(18,2)"),
        Column("day", "date"),
        Column("line", "int"),
        Column("share", "double"),
        Column("is_new", "boolean"),
    ),
    "parquet",
    ("id",),
)
GOOD = {CSV: b"id,name\n1,a\n2,b\n", JSON: b'{"id": 1}\n{"id": 2}\nbroken\n'}
NAMES = [
    "a.csv",
    "_x.csv",
    "a:b.csv",
    "[x]{y}*.json",
    "two  spaces .csv",
    "Größe 東京.csv",
    "line\nbreak.csv",
    'it\'s "quoted" `so`.csv',
    "%41+=41=.csv",
    "a..b/-~..csv",
    "sub/folder=1/_a.csv",
    "é" * 127,
    "n" * 255,
    "/".join(["d" * 200] * 4),
]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def deliver(home: Home, table: SourceTable, content: bytes, name: str | bytes = "a.file") -> Path:
    path = home.inbox / table.full_name / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def inspect(home: Home, table: SourceTable, path: Path) -> Inspection:
    return gate.inspect(path, table, home.inbox / table.full_name)


def check(home: Home, table: SourceTable, content: bytes, name: str = "a.file") -> Inspection:
    return inspect(home, table, deliver(home, table, content, name))


def refusal(home: Home, table: SourceTable, content: bytes, name: str = "a.file") -> str:
    inspection = check(home, table, content, name)
    assert inspection.sha256 == hashlib.sha256(content).hexdigest()
    assert inspection.size_bytes == len(content)
    assert inspection.num_rows is None
    assert inspection.reason is not None
    return inspection.reason


def in_chunks(content: bytes, size: int) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


# --- what waits


def test_waiting_files(home: Home) -> None:
    for name in ["b", "a/z", "a/_y", ".hidden", "x.tmp", "x.part", ".git/config", "d.tmp/e"]:
        deliver(home, CSV, b"", name)
    inbox = home.inbox / CSV.full_name
    (inbox / "empty").mkdir()
    (inbox / "link").symlink_to(inbox / "a")
    os.mkfifo(inbox / "pipe")
    names = [path.relative_to(inbox).as_posix() for path in gate.waiting_files(home, CSV)]
    assert names == ["a/_y", "a/z", "b", "link", "pipe"]
    assert gate.waiting_files(home, JSON) == []


def test_an_inbox_that_cannot_be_listed(home: Home) -> None:
    home.inbox.mkdir(parents=True)
    (home.inbox / CSV.full_name).write_text("a file")
    with pytest.raises(GateError, match=r"s\.c: Not a directory\. Give the user"):
        gate.waiting_files(home, CSV)


@given(
    st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=60)
    | st.lists(st.sampled_from([".", ".tmp", ".part", "a", "\udcff"]), min_size=1).map("".join)
)
@example(".tmp")
@example("....")
@example("\udcff" * 255)
def test_a_file_is_delivered_under_a_name_that_is_taken_in(name: str) -> None:
    accepted = gate.accepted_name(name)
    assert accepted
    assert not accepted.startswith(".")
    assert not accepted.endswith((".tmp", ".part"))
    shown = os.fsencode(accepted).decode(errors="backslashreplace")
    assert len(shown.encode()) <= 1000
    is_taken_in = not name.startswith(".") and not name.endswith((".tmp", ".part"))
    if is_taken_in and len(os.fsencode(name)) <= 250:
        assert accepted == name


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("visits.csv", "visits.csv"),
        (".visits.csv", "visits.csv"),
        ("visits.tmp", "visits"),
        ("visits.csv.part", "visits.csv"),
        ("..a.part.tmp", "a"),
        (".part", "part"),
    ],
)
def test_the_nearest_name_that_is_taken_in(name: str, accepted: str) -> None:
    assert gate.accepted_name(name) == accepted


def test_what_lies_in_the_inbox_and_is_never_taken_in(home: Home) -> None:
    assert gate.stray_entries(home, [CSV]) == []
    deliver(home, CSV, b"x", "sub/a.csv")
    deliver(home, JSON, b"x", "a.json")
    for name in ("loose.csv", ".hidden", "b.part", "c.tmp"):
        (home.inbox / name).touch()
    (home.inbox / "empty").mkdir()
    (home.inbox / "link").symlink_to("nowhere")
    strays = gate.stray_entries(home, [CSV])
    assert strays == [home.inbox / name for name in ("empty", "link", "loose.csv", "s.j")]
    assert gate.stray_entries(home, [CSV, JSON]) == strays[:3]


def test_an_inbox_that_is_a_file(home: Home) -> None:
    home.root.mkdir()
    home.inbox.touch()
    with pytest.raises(GateError, match=r"inbox: Not a directory\. Give the user"):
        gate.stray_entries(home, [CSV])


# --- what is accepted


@pytest.mark.parametrize(
    ("content", "num_rows"),
    [
        (b"id,name\n1,a\n2,b\n", 2),
        (b"id,name", 0),
        (b"id,name\r\n1,a\r\n\r\n2,b", 2),
        (b"id,name\r1,a\r2,b\r", 2),
        (b"\xef\xbb\xbfid,name\n1,a\n", 1),
        (b'\n \t\n"id","name"\n1,a\n', 1),
        (b'id,name\n1\n1,2,3\n"a""b"\n', 3),
        (b"id,name\n1,\0\n\0\n", 1),
        ("id,name\n1,\u00a0\n\u2028\n".encode(), 2),
    ],
)
def test_csv(home: Home, content: bytes, num_rows: int) -> None:
    inspection = check(home, CSV, content, "sub/a.txt")
    assert inspection == Inspection(
        table=CSV,
        path=home.inbox / "s.c" / "sub" / "a.txt",
        name="sub/a.txt",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        num_rows=num_rows,
        extension="csv",
        reason=None,
        seen=inspection.seen,
    )


@pytest.mark.parametrize(
    ("content", "num_rows"),
    [
        (b'{"id": 1}', 1),
        (b'broken\n[1]\n"text"\n{}\n{"id": \n', 5),
        (b'{"id": "\0"}\n', 1),
        (b'{"id": ' + b"9" * 5000 + b"}\n", 1),
        (b'{"a":' * 100_000 + b"\n{}\n", 2),
    ],
)
def test_json(home: Home, content: bytes, num_rows: int) -> None:
    inspection = check(home, JSON, content)
    assert (inspection.reason, inspection.num_rows) == (None, num_rows)
    assert inspection.extension == "json"


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv", "A.GZ"])
def test_gzip_is_known_by_its_content(home: Home, name: str) -> None:
    content = gzip.compress(b"id,name\n1,") + gzip.compress(b"") + gzip.compress(b"a\n2,b\n")
    inspection = check(home, CSV, content, name)
    assert (inspection.reason, inspection.num_rows, inspection.extension) == (None, 2, "gz")
    assert inspection.sha256 == hashlib.sha256(content).hexdigest()


def test_gzip_longer_than_a_chunk(home: Home) -> None:
    content = gzip.compress(b"id,name\n" + b"1,a\n" * 500_000)
    assert check(home, CSV, content).num_rows == 500_000


def naive_rows(text: bytes) -> int:
    lines = re.split(rb"\r\n|\n|\r", text.removeprefix(b"\xef\xbb\xbf"))
    return sum(any(byte > 0x20 for byte in line) for line in lines)


@given(st.text(st.sampled_from("\n\r\t \0aé東")), st.integers(1, 9))
@example("\r\n\r\n", 3)
@example("a\r\nb", 2)
def test_rows_are_counted_however_the_text_is_cut(text: str, size: int) -> None:
    content = b"{}\r\n" + text.encode()
    assert gate.count_rows(in_chunks(content, size), JSON)[0] == naive_rows(content)


@given(st.text(st.sampled_from("\n\ré")), st.integers(1, 5))
def test_the_line_that_is_not_utf_8(text: str, size: int) -> None:
    content = text.encode() + b"\xff\n\r"
    line = len(re.findall("\r\n|\n|\r", text)) + 1
    with pytest.raises(Exception, match=rf"^line {line} is not valid UTF-8"):
        gate.count_rows(in_chunks(content, size), JSON)


# --- what is refused


@pytest.mark.parametrize("table", [CSV, JSON, PARQUET], ids=lambda table: table.format)
@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"", "a", "it is empty"),
        (b"", "a.gz", "it is empty"),
        (b"id,name\n{}\n", "a.gz", "the name ends with .gz but the content is not gzip"),
        (b"PK\x03\x04...", "a.zip", "it is a zip archive; deliver the files in it"),
        (b"id,name\n{}\n", "/".join(["n" * 250] * 4), "the name has more than 1000 bytes"),
    ],
)
def test_refused_in_every_format(
    home: Home, table: SourceTable, content: bytes, name: str, reason: str
) -> None:
    assert reason in refusal(home, table, content, name)


@pytest.mark.parametrize("table", [CSV, JSON], ids=lambda table: table.format)
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda good: b"\n \r\n\0\t\n", "it is empty"),
        (lambda good: gzip.compress(b""), "it is empty"),
        (lambda good: gzip.compress(good)[:-1], "the gzip data is truncated"),
        (lambda good: gzip.compress(good)[:12], "the gzip data is truncated"),
        (lambda good: gzip.compress(good)[:-8] + b"\1" * 8, "the gzip data is corrupt"),
        (lambda good: gzip.compress(good) + b"garbage", "something else follows the gzip data"),
        (lambda good: gzip.compress(good) + b"\0", "something else follows the gzip data"),
        (lambda good: gzip.compress(gzip.compress(good)), "another gzip or a zip inside"),
        (lambda good: gzip.compress(b"PK\x03\x04..."), "another gzip or a zip inside"),
        (lambda good: good + b"3,\xe9\n", "line 4 is not valid UTF-8"),
        (lambda good: good + b"\xed\xa0\x80\n", "line 4 is not valid UTF-8"),
        (lambda good: good.decode().encode("utf-16"), "UTF-16 or UTF-32; deliver it as UTF-8"),
        (lambda good: good.decode().encode("utf-16-be"), "UTF-16 or UTF-32"),
        (lambda good: good.decode().encode("utf-16-le"), "UTF-16 or UTF-32"),
        (lambda good: good.decode().encode("utf-32"), "UTF-16 or UTF-32"),
        (lambda good: b"\0\0\xfe\xff" + good.decode().encode("utf-32-be"), "UTF-16 or UTF-32"),
    ],
)
def test_refused_text(
    home: Home, table: SourceTable, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    assert check(home, table, GOOD[table]).reason is None
    assert reason in refusal(home, table, spoil(GOOD[table]))


def streamed(codec: str) -> Callable[[bytes], bytes]:
    def compress(content: bytes) -> bytes:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(content)
        packed: bytes = sink.getvalue().to_pybytes()
        return packed

    return compress


def tar(content: bytes) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        entry = tarfile.TarInfo("visits.csv")
        entry.size = len(content)
        files.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def arrow_file(write: Callable[..., Any]) -> bytes:
    sink = io.BytesIO()
    write(pa.table({"id": ["1"]}), sink)
    return sink.getvalue()


@pytest.mark.parametrize("table", [CSV, JSON, PARQUET], ids=lambda table: table.format)
@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        (streamed("zstd"), "it is compressed with zstd; decompress it first"),
        (streamed("lz4"), "it is compressed with lz4; decompress it first"),
        (bz2.compress, "it is compressed with bzip2; decompress it first"),
        (lzma.compress, "it is compressed with xz; decompress it first"),
        (
            lambda content: lzma.compress(content, lzma.FORMAT_ALONE),
            "it is compressed with xz; decompress it first",
        ),
        # by their specifications: nothing here writes them
        (lambda _: b"\xff\x06\0\0sNaPpY", "it is compressed with snappy; decompress it first"),
        (lambda _: b"7z\xbc\xaf\x27\x1c\0\4", "it is a 7z archive; deliver the files in it"),
        (tar, "it is a tar archive; deliver the files in it"),
    ],
)
def test_what_is_packed_in_another_way(
    home: Home, table: SourceTable, pack: Callable[[bytes], bytes], reason: str
) -> None:
    content = parquet() if table is PARQUET else GOOD[table]
    assert refusal(home, table, pack(content)) == reason
    if table is not PARQUET:
        assert refusal(home, table, gzip.compress(pack(content))) == reason
    assert check(home, table, content).reason is None


@pytest.mark.parametrize("table", [CSV, JSON], ids=lambda table: table.format)
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (lambda: parquet(arrow_table()), "Parquet"),
        (lambda: parquet(arrow_table().slice(0, 0)), "Parquet"),
        (lambda: arrow_file(pyarrow.orc.write_table), "ORC"),
        (lambda: arrow_file(pyarrow.feather.write_feather), "an Arrow file"),
        (lambda: b"Obj\x01\x04\x16avro.schema", "Avro"),
        (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "an old Excel or Office file"),
    ],
)
def test_another_format(
    home: Home, table: SourceTable, content: Callable[[], bytes], what: str
) -> None:
    assert refusal(home, table, content()) == f"it is {what}; deliver it as {table.format}"


def test_a_line_of_text_is_no_signature(home: Home) -> None:
    for line in ("PAR1", "ORC", "Obj", "BZh9", "7z", "Rar!", "x" * 257 + "ustar"):
        assert check(home, JSON, f"{line}\n{{}}\n".encode()).num_rows == 2


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("1,a", "columns of the key are missing: 'id'; found '1, a'; begin with a header"),
        ("name", "columns of the key are missing: 'id'; found 'name'; begin with a header"),
        (
            '"id,name',
            "columns of the key are missing: 'id'; found '\"id,name'; begin with a header",
        ),
        ("id;name", "semicolons separate its columns; separate them by commas"),
        ('"ID";"name"', "semicolons separate its columns; separate them by commas"),
        ("name\tid", "tabs separate its columns; separate them by commas"),
        (" id", "columns of the key are missing: 'id'; found ' id'; begin with a header"),
        ("x;name", "columns of the key are missing: 'id'; found 'x;name'; begin with a header"),
        ("id, name,Id", "two columns have one name (upper and lower case are the same): "),
        ("id,x,,", "two columns have one name (upper and lower case are the same): 'id, x, , '"),
    ],
)
def test_refused_header(home: Home, header: str, reason: str) -> None:
    assert refusal(home, CSV, f"{header}\n1,a\n".encode()).startswith(reason)


def test_a_long_header_makes_no_long_reason(home: Home) -> None:
    assert len(refusal(home, CSV, b"x" * 200_000 + b"\n1\n")) < 400


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xef\xbb\xbf{}\n", "byte order mark"),
        (b'[1]\n"a"\nnull\n{"id": \n', "no line is a JSON object"),
        (b"[" * 100_000, "no line is a JSON object"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "no line is a JSON object"),
    ],
    ids=["bom", "no object", "deep list", "deep object"],
)
def test_refused_json(home: Home, content: bytes, reason: str) -> None:
    assert reason in refusal(home, JSON, content)


def test_long_lines(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_LINE_BYTES", 300_000)
    longest = b'{"a":"' + b"x" * 299_992 + b'"}'
    assert check(home, JSON, longest + b"\r\n" + longest).num_rows == 2
    assert "a line is longer than" in refusal(home, JSON, b"{}\nx" + longest + b"\n{}\n")
    assert "a line is longer than" in refusal(home, JSON, b"{}\nx" + longest)
    assert "a line is longer than" in refusal(home, JSON, gzip.compress(b"x" * 1_000_000))
    chunks = iter([b"x" * 200_000] * 10)
    with pytest.raises(Exception, match="a line is longer than"):
        gate.count_rows(chunks, JSON)
    assert len(list(chunks)) == 8  # it is refused before it is in memory as a whole


def test_a_line_with_more_fields_than_spark_reads(home: Home) -> None:
    assert check(home, CSV, b"id,name\n" + b"," * 19_999 + b"\n").num_rows == 1
    assert "20000 fields" in refusal(home, CSV, b"id,name\n1,a\n" + b"," * 20_000 + b"\n")


def test_gzip_bomb(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_EXPANDED_BYTES", 1_000_000)
    assert check(home, JSON, gzip.compress(b"{}\n" + b"\n" * 999_997)).num_rows == 1
    assert "it expands to more than" in refusal(home, JSON, gzip.compress(b"{}\n" * 400_000))


def test_links_and_pipes_are_not_opened(home: Home, tmp_path: Path) -> None:
    inbox = home.inbox / CSV.full_name
    inbox.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(GOOD[CSV])
    (inbox / "link").symlink_to(tmp_path / "secret")
    (inbox / "folder").symlink_to(tmp_path)
    (inbox / "device").symlink_to("/dev/zero")
    os.mkfifo(inbox / "pipe")
    for path in gate.waiting_files(home, CSV):
        inspection = inspect(home, CSV, path)
        kind = "a device, pipe or socket" if path.name == "pipe" else "a link"
        assert inspection.reason is not None
        assert inspection.reason.startswith(f"it is {kind}, which is never opened")
        assert (inspection.size_bytes, inspection.num_rows) == (0, None)
        moved = gate.quarantine(home, inspection)
        assert moved.is_symlink() or stat.S_ISFIFO(moved.lstat().st_mode)
    assert gate.waiting_files(home, CSV) == []
    assert (tmp_path / "secret").read_bytes() == GOOD[CSV]


# --- Parquet


def arrow_table() -> pa.Table:
    return pa.table(
        {
            "text": ["a", None, "c"],
            "id": pa.array([1, 2, 3], pa.int64()),
            "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC)] * 3, pa.timestamp("us", "UTC")),
            "price": pa.array([Decimal("1.20")] * 3, pa.decimal128(18, 2)),
            "day": pa.array([date(2024, 1, 1)] * 3, pa.date32()),
            "line": pa.array([1, 2, 3], pa.int32()),
            "share": [0.5, 1.0, None],
            "is_new": [True, False, None],
        }
    )


def parquet(table: pa.Table | None = None, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(arrow_table() if table is None else table, sink, **options)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def swap(name: str, array: pa.Array) -> pa.Table:
    table = arrow_table()
    return table.set_column(table.schema.get_field_index(name), name, array)


@pytest.mark.parametrize(
    ("table", "options"),
    [
        (arrow_table(), {}),
        (arrow_table(), {"row_group_size": 1, "compression": "zstd", "store_schema": False}),
        (arrow_table(), {"use_deprecated_int96_timestamps": True}),
        (swap("at", pa.array([0] * 3, pa.timestamp("ms"))), {}),
        (swap("text", pa.array(["a", "a", "b"]).dictionary_encode()), {}),
        (swap("text", pa.array(["a", "a", "b"], pa.large_string())), {}),
    ],
)
def test_parquet(home: Home, table: pa.Table, options: dict[str, Any]) -> None:
    content = parquet(table, **options)
    inspection = check(home, PARQUET, content)
    assert (inspection.reason, inspection.num_rows) == (None, 3)
    assert (inspection.extension, inspection.size_bytes) == ("parquet", len(content))
    assert inspection.sha256 == hashlib.sha256(content).hexdigest()


def only(array: pa.Array, **options: Any) -> bytes:
    return parquet(pa.table({"x": array}), **options)


def one(data_type: str) -> SourceTable:
    return replace(PARQUET, columns=(Column("x", data_type),), key=("x",))


# By the bytes of the types, not by pyarrow's checks, which refuse to make such values.
def of_bytes(data_type: pa.DataType, *values: bytes) -> pa.Array:
    buffer = pa.py_buffer(b"".join(values))
    return pa.Array.from_buffers(data_type, len(values), [None, buffer])


def text_of(*values: bytes) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string())


NUMBERS = pa.array([*range(50), None], pa.int64())
DOUBLES = NUMBERS.cast(pa.float64())
TEXTS = pa.array([*map(str, range(50)), None])
DECIMALS = NUMBERS.cast(pa.decimal128(19, 0)).cast(pa.decimal128(38, 2)).cast(pa.decimal128(18, 2))
# Spark 4.2 reads all of these but BYTE_STREAM_SPLIT: tried with each.
ENCODED = [
    (NUMBERS, "bigint", "PLAIN"),
    (NUMBERS, "bigint", "DELTA_BINARY_PACKED"),
    (NUMBERS, "bigint", "BYTE_STREAM_SPLIT"),
    (NUMBERS.cast(pa.int32()), "int", "DELTA_BINARY_PACKED"),
    (NUMBERS.cast(pa.int32()), "int", "BYTE_STREAM_SPLIT"),
    (NUMBERS.cast(pa.int32()).cast(pa.date32()), "date", "DELTA_BINARY_PACKED"),
    (NUMBERS.cast(pa.int32()).cast(pa.date32()), "date", "BYTE_STREAM_SPLIT"),
    (NUMBERS.cast(pa.timestamp("us")), "timestamp", "DELTA_BINARY_PACKED"),
    (NUMBERS.cast(pa.timestamp("us")), "timestamp", "BYTE_STREAM_SPLIT"),
    (DOUBLES, "double", "PLAIN"),
    (DOUBLES, "double", "BYTE_STREAM_SPLIT"),
    (NUMBERS.cast(pa.bool_()), "boolean", "PLAIN"),
    (NUMBERS.cast(pa.bool_()), "boolean", "RLE"),
    (DECIMALS, "decimal(18,2)", "PLAIN"),
    (DECIMALS, "decimal(18,2)", "DELTA_BYTE_ARRAY"),
    (DECIMALS, "decimal(18,2)", "BYTE_STREAM_SPLIT"),
    (TEXTS, "string", "PLAIN"),
    (TEXTS, "string", "DELTA_LENGTH_BYTE_ARRAY"),
    (TEXTS, "string", "DELTA_BYTE_ARRAY"),
]


@pytest.mark.parametrize("pages", ["1.0", "2.0"])
@pytest.mark.parametrize(("array", "data_type", "encoding"), ENCODED)
def test_encodings(home: Home, array: pa.Array, data_type: str, encoding: str, pages: str) -> None:
    content = only(
        array, column_encoding={"x": encoding}, use_dictionary=False, data_page_version=pages
    )
    assert check(home, one(data_type), only(array, data_page_version=pages)).num_rows == 51
    inspection = check(home, one(data_type), content)
    if encoding != "BYTE_STREAM_SPLIT":
        assert inspection.num_rows == 51
    else:
        assert inspection.reason == (
            "column x has the encoding BYTE_STREAM_SPLIT, which Spark cannot read; write it with "
            "none: parquet_version 'v1' in DuckDB, neither use_byte_stream_split nor "
            "column_encoding in pyarrow"
        )


def test_the_encoding_of_a_column_that_is_not_read_does_not_matter(home: Home) -> None:
    table = arrow_table().append_column("more", pa.array([1.5, 2.5, 3.5]))
    content = parquet(table, use_dictionary=False, use_byte_stream_split=["more"])
    assert check(home, PARQUET, content).num_rows == 3


@pytest.mark.parametrize(
    ("codec", "is_read"),
    [(name, name != "brotli") for name in ("none", "snappy", "gzip", "zstd", "lz4", "brotli")],
)
def test_codecs(home: Home, codec: str, is_read: bool) -> None:
    assert (check(home, PARQUET, parquet(compression=codec)).reason is None) == is_read


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (text_of(b"a", b"M\xfcnchen"), "column x, row 2: text that is not valid UTF-8"),
        (text_of(b"\xed\xa0\x80"), "column x, row 1: text that is not valid UTF-8"),
        (text_of(*[b"a"] * 700, b"\xff"), "column x, row 701: text that is not valid UTF-8"),
        (
            text_of(*[b"a"] * 700, b"\xff").dictionary_encode(),
            "column x, row 701: text that is not valid UTF-8; deliver it as UTF-8",
        ),
        (
            text_of(b"\xff").cast(pa.large_string()),
            "column x, row 1: text that is not valid UTF-8; deliver it as UTF-8",
        ),
        (
            pa.array(["a", "x" * (16 * 1024**2 + 1)]),
            "column x holds a value of more than 16777216 bytes; deliver shorter ones",
        ),
    ],
)
@pytest.mark.parametrize("use_dictionary", [True, False])
def test_text_in_parquet(home: Home, array: pa.Array, reason: str, use_dictionary: bool) -> None:
    content = only(array, use_dictionary=use_dictionary, compression="zstd")
    assert reason in refusal(home, one("string"), content)


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["x" * 16 * 1024**2]),
        pa.array(["é", "\0", "\x1b[31m", "\u2028", None]).cast(pa.large_string()),
        pa.array(["é", None], pa.string_view()),
        # as many values as would be 4 GiB if each batch counted the dictionary
        pa.array([f"{'x' * 1000} {n % 5000}" for n in range(60_000)]).dictionary_encode(),
    ],
    ids=["longest", "strange", "view", "categories"],
)
def test_text_in_parquet_that_is_accepted(home: Home, array: pa.Array) -> None:
    assert check(home, one("string"), only(array)).num_rows == len(array)


# A 64-bit number of microseconds holds 9,223,372,036,854 whole seconds.
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
@pytest.mark.parametrize(
    ("unit", "last"), [("s", 9_223_372_036_854), ("ms", 9_223_372_036_854_775)]
)
def test_times_that_overflow_in_microseconds(
    home: Home, unit: str, last: int, zone: str | None, sign: int
) -> None:
    def at(ticks: int) -> bytes:
        return only(pa.array([0, ticks * sign], pa.timestamp(unit, zone)))

    assert check(home, one("timestamp"), at(last)).num_rows == 2
    assert refusal(home, one("timestamp"), at(last + 1)) == (
        "column x, row 2: a time beyond the year 294247, or as long ago; deliver null"
    )


def test_times_of_any_year_are_accepted(home: Home) -> None:
    for micros in (2**63 - 1, -(2**63), -62_198_755_200_000_000):
        content = only(pa.array([micros], pa.timestamp("us")))
        assert check(home, one("timestamp"), content).num_rows == 1
    for days in (2**31 - 1, -(2**31)):
        assert check(home, one("date"), only(pa.array([days], pa.date32()))).num_rows == 1


@pytest.mark.parametrize("as_integer", [True, False])
@pytest.mark.parametrize("precision", [9, 18, 20, 38])
def test_numbers_with_more_digits_than_the_column(
    home: Home, precision: int, as_integer: bool
) -> None:
    def content(number: int) -> bytes:
        values = (value.to_bytes(16, "little") for value in (1, number))
        array = of_bytes(pa.decimal128(precision, 2), *values)
        return only(array, store_decimal_as_integer=as_integer)

    table = one(f"decimal({precision},2)")
    assert check(home, table, content(10**precision - 1)).num_rows == 2
    assert refusal(home, table, content(10**precision)).startswith("column x, row 2: a number too")


def test_the_cure_of_nanoseconds_cures(home: Home) -> None:
    nanos = pa.table({"x": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns"))})
    reason = refusal(home, one("timestamp"), parquet(nanos))
    assert reason == (
        "column x is 'timestamp[ns]'; expected timestamp; write microseconds: "
        "coerce_timestamps='us', allow_truncated_timestamps=True in pyarrow and pandas, "
        "cast(... as timestamp) in DuckDB"
    )
    content = parquet(nanos, coerce_timestamps="us", allow_truncated_timestamps=True)
    assert check(home, one("timestamp"), content).num_rows == 1


def test_a_page_that_is_not_its_checksums(home: Home) -> None:
    content = only(
        pa.array(["a", "b"]), compression="none", use_dictionary=False, write_page_checksum=True
    )
    assert check(home, one("string"), content).num_rows == 2
    page = b"\1\0\0\0a\1\0\0\0b"
    assert content.count(page) == 1
    changed = content.replace(page, page.replace(b"a", b"A"))
    assert "cannot be read to its end" in refusal(home, one("string"), changed)


class Keys(pe.KmsClient):  # type: ignore[misc]
    def wrap_key(self, key: bytes, _: str) -> str:
        return base64.b64encode(key).decode()

    def unwrap_key(self, wrapped: str, _: str) -> bytes:
        return base64.b64decode(wrapped)


@pytest.mark.parametrize("has_plain_footer", [True, False])
def test_encrypted_parquet(home: Home, has_plain_footer: bool) -> None:
    settings = pe.EncryptionConfiguration(
        footer_key="a", column_keys={"b": ["x"]}, plaintext_footer=has_plain_footer
    )
    factory = pe.CryptoFactory(lambda _: Keys())
    keys = factory.file_encryption_properties(pe.KmsConnectionConfig(), settings)
    content = only(pa.array(["a"]), encryption_properties=keys)
    assert refusal(home, one("string"), content) == "it is encrypted; deliver it without encryption"


def test_parquet_without_rows(home: Home) -> None:
    assert check(home, PARQUET, parquet(arrow_table().slice(0, 0))).num_rows == 0


def corrupt_page() -> bytes:
    content = bytearray(parquet(compression="gzip"))
    content[content.index(b"\x1f\x8b")] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"id,text\n1,a\n", "it is not a Parquet file"),
        (b"PAR1", "the Parquet file cannot be read to its end"),
        (parquet()[:-1], "the Parquet file is truncated"),
        (parquet()[:-100] + b"PAR1", "the Parquet file cannot be read to its end"),
        (corrupt_page(), "the Parquet file cannot be read to its end"),
        (gzip.compress(parquet()), "it is gzip; deliver the Parquet file itself"),
        (parquet(compression="brotli"), "it is compressed with Brotli"),
        (
            # the footer's own number of rows, 3 as a zigzag varint, raised to 4
            parquet().replace(b"\x16\x06\x19", b"\x16\x08\x19"),
            "the Parquet file promises 4 rows and holds 3",
        ),
        (
            parquet(arrow_table().drop(["id", "day"])),
            "columns of the key are missing: 'id'; found 'text, at, ",
        ),
        (parquet(arrow_table().append_column("ID", [[1, 2, 3]])), "two columns have one name"),
    ],
)
def test_refused_parquet(home: Home, content: bytes, reason: str) -> None:
    assert reason in refusal(home, PARQUET, content)


@pytest.mark.parametrize(
    ("name", "array", "reason"),
    [
        ("line", pa.array([1] * 3, pa.uint32()), "column line is 'uint32'; expected int"),
        ("id", pa.array([1] * 3, pa.uint64()), "column id is 'uint64'; expected bigint"),
        ("text", pa.array([b"a"] * 3), "column text is 'binary'; expected string"),
        ("at", pa.array([0] * 3, pa.timestamp("ns")), "column at is 'timestamp[ns]'"),
        ("at", pa.array([0] * 3, pa.int64()), "column at is 'int64'; expected timestamp"),
        ("price", pa.array([Decimal(1)] * 3, pa.decimal128(18, 3)), "expected decimal(18,2)"),
        ("price", pa.array([1.5] * 3), "column price is 'double'; expected decimal(18,2)"),
        ("day", pa.array(["a"] * 3), "column day is 'string'; expected date"),
        ("line", pa.array([1] * 3, pa.int64()), "column line is 'int64'; expected int"),
        ("share", pa.array([1] * 3), "column share is 'int64'; expected double"),
        ("day", pa.array([0] * 3, pa.timestamp("us")), "column day is 'timestamp[us]'"),
        ("at", pa.array([0] * 3, pa.date32()), "column at is 'date32[day]'; expected timestamp"),
        ("text", pa.array([1] * 3), "column text is 'int64'; expected string"),
        ("is_new", pa.array([1] * 3), "column is_new is 'int64'; expected boolean"),
    ],
)
def test_refused_parquet_types(home: Home, name: str, array: pa.Array, reason: str) -> None:
    assert reason in refusal(home, PARQUET, parquet(swap(name, array)))


def test_parquet_bombs(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "MAX_EXPANDED_BYTES", 1_000_000)
    table = replace(PARQUET, columns=(Column("text", "string"),), key=("text",))

    def bomb(values: list[str]) -> bytes:
        return parquet(pa.table({"text": values}), compression="zstd", use_dictionary=["text"])

    # the metadata tells before a page is read: these pages could not be
    unreadable = bomb(["x" * 2_000_000]).replace(b"\x28\xb5\x2f\xfd", b"none")
    assert "it expands to more than" in refusal(home, table, unreadable)
    # the metadata does not know how often the dictionary repeats a value
    assert "it expands to more than" in refusal(home, table, bomb(["x" * 10_000] * 200))


# --- names


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_landed(home: Home, name: str) -> None:
    landed = gate.land(home, inspect(home, CSV, deliver(home, CSV, GOOD[CSV], name)))
    assert landed.read_bytes() == GOOD[CSV]
    assert gate.delivered_name(str(landed)) == name
    assert gate.waiting_files(home, CSV) == []


@given(st.binary(min_size=1, max_size=900))
def test_names_go_there_and_back(raw: bytes) -> None:
    name = gate.display_name(raw)
    inspection = Inspection(CSV, Path("x"), name, "0f" * 32, 0, 0, "csv", None, (0, 0, 0))
    path = gate.landing_path(Home(Path("/h")), inspection)
    parts = path.relative_to("/h/landing/s.c").parts
    assert gate.delivered_name(str(path)) == name
    assert gate.delivered_name("/".join(parts)) == name
    is_plain = re.fullmatch(r"[A-Za-z0-9._-]+", name) and len(name) <= 131
    rest = r"\.[A-Za-z0-9._-]+" if is_plain else r"-[A-Za-z0-9=/]+"
    assert re.fullmatch(rf"(0f){{32}}{rest}\.csv", "/".join(parts))
    for part in parts:
        assert len(part) <= 250
        assert is_plain or re.fullmatch(r"(=[0-9A-F]{2}|[A-Za-z0-9.-])+", part)


def test_landing_path(home: Home) -> None:
    content = b"id,name\n"
    sha = hashlib.sha256(content).hexdigest()
    assert gate.landing_path(home, check(home, CSV, content, "a b/é.csv")) == (
        home.landing / "s.c" / f"{sha}-a=20b=2F=C3=A9=2Ecsv.csv"
    )
    folder, file = "n" * 179, "=20" + "n" * 20
    assert gate.landing_path(home, check(home, CSV, content, "n" * 179 + " " + "n" * 20)) == (
        home.landing / "s.c" / f"{sha}-{folder}" / f"{file}.csv"
    )
    flat = gate.landing_path(home, check(home, CSV, content, "a-1_b.csv" + "n" * 122))
    assert flat.name == f"{sha}.a-1_b.csv{'n' * 122}.csv"
    assert len(flat.name) == 200
    assert gate.landing_path(home, check(home, CSV, content, "n" * 132)) == (
        home.landing / "s.c" / f"{sha}-{'n' * 132}.csv"
    )


def test_undecodable_bytes_in_names(home: Home) -> None:
    try:
        path = deliver(home, CSV, GOOD[CSV], b"a\xff.csv")
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    inspection = inspect(home, CSV, path)
    assert inspection.name == "a\\xff.csv"
    assert gate.delivered_name(str(gate.land(home, inspection))) == "a\\xff.csv"


def test_no_landed_file() -> None:
    with pytest.raises(ValueError, match="no path of a landed file"):
        gate.delivered_name("/h/landing/s.c/a.csv")


# --- moves


def test_land(home: Home) -> None:
    path = deliver(home, CSV, GOOD[CSV], "old.csv")
    os.utime(path, (1, 1))
    inspection = inspect(home, CSV, path)
    landed = gate.land(home, inspection)
    assert landed == gate.landing_path(home, inspection)
    assert landed.stat().st_mtime > 1
    assert not path.exists()
    assert gate.land(home, inspection) == landed


def test_the_archive_keeps_names_and_folders(home: Home) -> None:
    landed = [gate.land(home, check(home, CSV, GOOD[CSV], name)) for name in ("a.csv", "n" * 255)]
    assert gate.archive_landed(home, "s.c") == 2
    [day] = (home.archive / "s.c").iterdir()
    for path in landed:
        assert not path.exists()
        assert (day / path.relative_to(home.landing / "s.c")).read_bytes() == GOOD[CSV]
    assert gate.archive_landed(home, "s.c") == 0


def test_a_duplicate_that_was_replaced_is_kept(home: Home) -> None:
    gate.land(home, check(home, CSV, GOOD[CSV], "first.csv"))
    second = check(home, CSV, GOOD[CSV], "second.csv")
    second.path.unlink()
    second.path.write_bytes(b"id,name\n9,new\n")
    with pytest.raises(StillBeingWritten):
        gate.discard(second)
    assert second.path.exists()


def test_an_empty_folder_is_no_landed_file(home: Home) -> None:
    inspection = check(home, CSV, GOOD[CSV], "n" * 255)
    gate.landing_path(home, inspection).parent.mkdir(parents=True)
    assert inspection.sha256 not in gate.landed_files(home, "s.c")
    gate.land(home, inspection)
    assert inspection.sha256 in gate.landed_files(home, "s.c")


def test_a_duplicate_goes_away(home: Home) -> None:
    landed = gate.land(home, check(home, CSV, GOOD[CSV], "a.csv"))
    again = check(home, CSV, GOOD[CSV], "a.csv")
    before = landed.stat()
    assert gate.land(home, again) == landed
    assert landed.stat() == before
    assert gate.waiting_files(home, CSV) == []


def test_a_damaged_parquet_footer_does_not_end_the_process(home: Home) -> None:
    """Many bits of it: pyarrow aborts when asked for the compression of some of these."""
    whole = parquet()
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    for bit in range((len(whole) - footer) * 8, (len(whole) - 4) * 8, 11):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        check(home, PARQUET, bytes(content), "damaged.parquet")


def test_a_link_does_not_take_the_place_of_a_file_in_quarantine(home: Home) -> None:
    file = gate.quarantine(home, inspect(home, CSV, deliver(home, CSV, b"x", "x")))
    path = home.inbox / "s.c" / "x"
    path.symlink_to(file)
    link = gate.quarantine(home, inspect(home, CSV, path))
    assert link != file
    assert file.read_bytes() == b"x"


@pytest.mark.parametrize("name", NAMES)
def test_quarantine(home: Home, name: str) -> None:
    inspection = inspect(home, CSV, deliver(home, CSV, b"no header", name))
    moved = gate.quarantine(home, inspection)
    assert moved.parent == home.quarantine / "s.c"
    assert moved.read_bytes() == b"no header"
    reason = moved.with_name(f"{moved.name}.reason.txt").read_text(encoding="utf-8").splitlines()
    assert reason[:2] == [f"name: {name!r}", f"reason: {inspection.reason}"]
    assert re.fullmatch(r"time: \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", reason[2])
    assert gate.waiting_files(home, CSV) == []
    assert gate.quarantine(home, inspection) == moved


def test_quarantine_keeps_long_names_apart(home: Home) -> None:
    long = "/".join(["é" * 120] * 5)
    moved = {gate.quarantine(home, check(home, CSV, GOOD[CSV], f"{long}/{name}")) for name in "ab"}
    assert len(moved) == 2
    assert {path.read_bytes() for path in moved} == {GOOD[CSV]}


def test_a_file_that_changes_while_it_is_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = deliver(home, CSV, GOOD[CSV])
    count_rows = gate.count_rows

    def count_and_append(chunks: Iterator[bytes], table: SourceTable) -> tuple[int, Drift]:
        rows = count_rows(chunks, table)
        with path.open("ab") as file:
            file.write(b"3,c\n")
        return rows

    monkeypatch.setattr(gate, "count_rows", count_and_append)
    with pytest.raises(StillBeingWritten, match="changed while it was read"):
        inspect(home, CSV, path)


@pytest.mark.parametrize("move", [gate.land, gate.quarantine])
def test_a_file_that_changes_before_it_is_moved(
    home: Home, move: Callable[[Home, Inspection], Path]
) -> None:
    inspection = check(home, CSV, GOOD[CSV])
    (home.inbox / "new").write_bytes(b"id,name\n9,z\n")
    (home.inbox / "new").replace(inspection.path)
    with pytest.raises(StillBeingWritten, match="changed after it was read"):
        move(home, inspection)
    assert inspection.path.read_bytes() == b"id,name\n9,z\n"
    inspection.path.unlink()
    with pytest.raises(StillBeingWritten, match="went away"):
        move(home, inspection)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ELOOP])
def test_a_file_that_is_swapped_before_it_is_opened(
    home: Home, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = deliver(home, CSV, GOOD[CSV])
    monkeypatch.setattr(os, "open", failing(code))
    with pytest.raises(StillBeingWritten, match="was replaced"):
        inspect(home, CSV, path)


def failing(code: int) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def test_a_file_that_may_not_be_read(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    path = deliver(home, CSV, GOOD[CSV])
    monkeypatch.setattr(os, "open", failing(errno.EACCES))
    with pytest.raises(GateError, match=r"a\.file: Permission denied\. Give the user"):
        inspect(home, CSV, path)


def test_a_disk_that_fails_is_not_the_files_fault(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = deliver(home, PARQUET, parquet())
    monkeypatch.setattr(pq, "ParquetFile", failing(errno.EIO))
    with pytest.raises(GateError, match=r"a\.file: Input/output error"):
        inspect(home, PARQUET, path)


@pytest.mark.parametrize("move", [gate.land, gate.quarantine])
def test_a_folder_that_cannot_be_written(
    home: Home, move: Callable[[Home, Inspection], Path]
) -> None:
    inspection = check(home, CSV, GOOD[CSV])
    home.landing.write_text("a file")
    home.quarantine.write_text("a file")
    with pytest.raises(GateError, match=r"(landing|quarantine)/s\.c: .* Give the user .* to write"):
        move(home, inspection)
    assert inspection.path.read_bytes() == GOOD[CSV]


def test_a_file_that_belongs_to_another_is_named(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspection = check(home, CSV, GOOD[CSV])
    monkeypatch.setattr(os, "utime", failing(errno.EPERM))
    with pytest.raises(GateError, match=r"inbox/s\.c/a\.file: Operation not permitted\. Give"):
        gate.land(home, inspection)
    assert inspection.path.read_bytes() == GOOD[CSV]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another filesystem, in memory."""
    memory = Path("/dev/shm")  # noqa: S108 - nothing is kept there
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("There is no other filesystem here.")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.mark.parametrize("move", [gate.land, gate.quarantine])
def test_a_move_to_another_filesystem(
    home: Home, elsewhere: Path, move: Callable[[Home, Inspection], Path]
) -> None:
    home.root.mkdir()
    for name in ("landing", "quarantine"):
        (elsewhere / name).mkdir()
        (home.root / name).symlink_to(elsewhere / name)
    inspection = check(home, CSV, GOOD[CSV])
    target = move(home, inspection)
    assert target.resolve().is_relative_to(elsewhere)
    assert target.read_bytes() == GOOD[CSV]
    assert not inspection.path.exists()
    left = {path.name for path in target.parent.iterdir()}
    assert {name.removesuffix(".reason.txt") for name in left} == {target.name}
    assert move(home, inspection) == target  # repeating is harmless
    target.with_name(f".{target.name}.part").write_bytes(b"of one that was killed")
    assert [*gate.landed_files(home, CSV.folder).values()] == [target] * (move is gate.land)


def test_a_link_is_moved_to_another_filesystem_itself(home: Home, elsewhere: Path) -> None:
    home.root.mkdir()
    (home.root / "quarantine").symlink_to(elsewhere)
    path = deliver(home, CSV, b"")
    path.unlink()
    path.symlink_to("/etc/hostname")
    target = gate.quarantine(home, inspect(home, CSV, path))
    assert target.is_symlink()
    assert not path.is_symlink()


def test_a_file_that_changes_while_it_is_copied_stays(
    home: Home, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.root.mkdir()
    (home.root / "landing").symlink_to(elsewhere)
    inspection = check(home, CSV, GOOD[CSV])
    copy = shutil.copyfile

    def copy_and_change(source: Path, *rest: Any, **named: Any) -> None:
        copy(source, *rest, **named)
        source.write_bytes(GOOD[CSV] * 2)

    monkeypatch.setattr(shutil, "copyfile", copy_and_change)
    with pytest.raises(StillBeingWritten):
        gate.land(home, inspection)
    assert inspection.path.exists()
    assert [path for path in elsewhere.rglob("*") if path.is_file()] == []
