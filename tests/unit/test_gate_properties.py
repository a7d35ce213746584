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
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingestion import gate
from ingestion.declaration import Column, SourceTable
from ingestion.gate import Inspection
from ingestion.home import Home

COLUMNS = (Column("id", "string"), Column("name", "string"))
CSV = SourceTable("s", "c", "s_c", COLUMNS, "csv", ("id",), "refuse")
JSON = SourceTable("s", "j", "s_j", COLUMNS, "json", ("id",), "keep")
PARQUET = SourceTable("s", "p", "s_p", COLUMNS, "parquet", ("id",), "refuse")

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
        return gate.count_rows(chunks, table)
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
    is_headed = filled[:1] in (["id,name"], ['"id","name"'])
    most_commas = max(line.count(",") for line in decoded)
    return len(filled) - 1 if is_headed and most_commas < gate.MAX_CSV_FIELDS else None


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


near_misses = st.lists(st.sampled_from(("id", "name", "ID", " id", "", 'i"d', "id,name")))


@often
@given(st.just(["id", "name"]) | near_misses, st.booleans())
def test_a_header_is_accepted_however_quoted_and_no_other_is(
    fields: list[str], is_quoted: bool
) -> None:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL).writerow(fields)
    accepted = num_rows(iter([line.getvalue().encode() + b"1,a\n"]), CSV) is not None
    assert accepted == (fields == ["id", "name"])


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
