"""Files with other columns than the declared ones: what is found, and what the engine gets to read.

R13 in every format; that the engine reads it so is shown in `tests/integration/test_ingestion.py`.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion import drift, gate
from ingestion.declaration import Column, SourceTable
from ingestion.drift import NO_DRIFT, Drift
from ingestion.feed import SourceLoad
from ingestion.gate import GateError, Inspection, StillBeingWritten
from ingestion.home import Home
from ingestion.loads import Load

NAMES = ("id", "name", "size")
CSV = SourceTable("s", "c", "s_c", tuple(Column(name, "string") for name in NAMES), "csv", ("id",))
JSON = replace(CSV, name="j", identifier="s_j", format="json")
PARQUET = SourceTable(
    "s",
    "p",
    "s_p",
    (Column("id", "bigint"), Column("name", "string"), Column("size", "double")),
    "parquet",
    ("id",),
)
GOOD = b"size,ID,more\n7,1,x\n"

often = settings(max_examples=200, deadline=None)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def check(home: Home, table: SourceTable, content: bytes, name: str = "a.file") -> Inspection:
    inbox = home.inbox / table.full_name
    path = inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return gate.inspect(path, table, inbox)


def landed(home: Home, table: SourceTable, content: bytes, name: str = "a.file") -> bytes:
    inspection = check(home, table, content, name)
    assert inspection.reason is None
    return gate.land(home, inspection).read_bytes()


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(content.decode().splitlines(), strict=True))


def parquet(**columns: pa.Array) -> bytes:
    buffer = BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


# --- what is found


@pytest.mark.parametrize(
    ("header", "unknown", "missing", "is_transcribed"),
    [
        ("id,name,size", [], [], False),
        ("ID,Name,sIZE", [], [], False),
        ("size,id,name", [], [], True),
        ("id,name", [], ["size"], True),
        ("id,name,size,more", ["more"], [], True),
        ("id,names,SIZE", ["names"], ["name"], True),
        ("id,name,size,", [""], [], True),
    ],
)
def test_the_header_of_a_csv_file(
    home: Home, header: str, unknown: list[str], missing: list[str], is_transcribed: bool
) -> None:
    inspection = check(home, CSV, f"{header}\n1,2\n".encode())
    assert inspection.reason is None
    assert inspection.drift == Drift(
        tuple(Column(name, "string") for name in unknown), tuple(missing), is_transcribed
    )


@pytest.mark.parametrize(
    ("line", "is_held_raw"),
    [
        ('1,x,"5', True),
        ('1,x,"5\n0"', True),
        ('"1,x,5', True),
        ('1,x"y,5', False),
        ('1,"x""y",5"', False),
    ],
)
def test_a_quote_that_no_line_closes_holds_the_line_raw(
    home: Home, line: str, is_held_raw: bool
) -> None:
    content = f"id,name,size\n2,y,7\n{line}\n".encode()
    inspection = check(home, CSV, content)
    assert inspection.drift == Drift(is_transcribed=True)
    rows = rows_of(gate.land(home, inspection).read_bytes())
    assert len(rows) == inspection.num_rows
    assert rows[0] == {"id": "2", "name": "y", "size": "7", "_rescued": "", "_raw": ""}
    assert [row["_raw"] for row in rows[1:]] == (line.split("\n") if is_held_raw else [""])


def test_quotes_that_are_closed_need_no_transcription(home: Home) -> None:
    content = b'id,name,size\n"2","y, ""z""",7\n'
    assert check(home, CSV, content).drift == NO_DRIFT


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"id": "int64", "name": "string", "size": "double"}, NO_DRIFT),
        ({"size": "double", "id": "int64", "name": "string"}, NO_DRIFT),
        ({"id": "int64"}, Drift(missing=("name", "size"))),
        ({"ID": "int64", "name": "string", "size": "double"}, Drift(is_transcribed=True)),
        ({"id": "int32", "name": "string", "size": "float"}, Drift(is_transcribed=True)),
        (
            {"id": "int64", "label": "string", "day": "date32", "SIZE": "double"},
            Drift((Column("label", "string"), Column("day", "date")), ("name",), True),
        ),
    ],
)
def test_the_columns_of_a_parquet_file(
    home: Home, columns: dict[str, str], expected: Drift
) -> None:
    content = parquet(
        **{name: pa.nulls(1, pa.type_for_alias(kind)) for name, kind in columns.items()}
    )
    assert check(home, PARQUET, content).drift == expected


def test_a_source_that_fails_refuses_what_is_not_declared(home: Home) -> None:
    reason = "columns are not declared: 'more, x'; leave them out or declare them"
    strict = [replace(table, unknown_columns="fail") for table in (CSV, JSON, PARQUET)]
    for table, content, good in zip(
        strict,
        (
            b"id,more,x\n1,2,3\n",
            b'{"id": 1}\nbroken\n{"id": 1, "more": null, "x": 2}\n',
            parquet(id=pa.array([1]), more=pa.array([1]), x=pa.array([1])),
        ),
        (b"Name,id\na,1\n", b'{"id": 1}\n{"size": 1}\nbroken\n', parquet(ID=pa.array([1]))),
        strict=True,
    ):
        assert check(home, table, content).reason == reason
        assert check(home, table, good).reason is None
        rescuing = replace(table, unknown_columns="rescue")
        assert check(home, rescuing, content).reason is None


def test_what_is_told_of_it(home: Home) -> None:
    inspection = check(home, CSV, b"id,Foo,bar\n1,2,3\n")
    assert inspection.told == (
        "not declared, kept in _rescued: 'Foo', 'bar'; missing: 'name', 'size'"
    )
    assert check(home, CSV, b"size,name,id\n1,2,3\n").told is None
    assert check(home, CSV, b"name\n1\n").told == check(home, CSV, b"name\n1\n").reason
    many = check(home, CSV, f"id,{','.join(f'x{n}' for n in range(500))}\n".encode()).told or ""
    assert len(many) < 300
    assert "'x19', and 480 more; missing" in many


def test_a_load_tells_of_each_source_and_shape_and_what_would_declare_it() -> None:
    one = Drift((Column("Foo", "string"), Column("two words", "string")), ("size",))
    other = Drift((Column("Foo", "string"), Column("bar", "string")))
    load = Load(
        7,
        [
            SourceLoad("s.c", drifts=Counter({one: 3, other: 4})),
            SourceLoad("s.j", drifts=Counter({Drift(missing=("name",)): 1})),
            SourceLoad("s.p"),
        ],
    )
    assert load.drifts == [
        "s.c: in files of 3 rows: not declared, kept in _rescued: 'Foo', 'two words'; "
        "missing: 'size'",
        "s.c: in files of 4 rows: not declared, kept in _rescued: 'Foo', 'bar'",
        "s.j: in files of 1 rows: missing: 'name'",
    ]
    [told] = load.declarations
    line, _, lines = told.partition("\n")
    assert line.endswith("the columns of c in models/staging/s/_s__sources.yml:")
    assert [column["name"] for column in yaml.safe_load(lines)] == ["Foo", "bar"]


def test_what_staging_reads_in_rescued_is_no_drift(home: Home) -> None:
    table = replace(CSV, read_rescued=frozenset({"_op"}))
    inspection = check(home, table, b"id,name,size,_op\n1,2,3,delete\n")
    assert inspection.told is None
    assert b"delete" in gate.land(home, inspection).read_bytes()
    told = check(home, table, b"id,name,size,_Op\n1,2,3,delete\n").told
    assert told == "not declared, kept in _rescued: '_Op'"


def test_a_field_in_another_case_is_the_senders_to_correct() -> None:
    drifts = Counter({drift.drift_of_fields(["ID", "Foo", "foo"], JSON): 3})
    load = Load(7, [SourceLoad("s.j", drifts=drifts)])
    assert load.drifts == [
        "s.j: rows 3: not declared, kept in _rescued: 'Foo', 'foo'; 'ID', kept in _rescued, "
        "differs from the declared 'id' in case alone: have the sender correct it"
    ]
    [told] = load.declarations
    [column] = yaml.safe_load(told.partition("\n")[2])
    assert column["name"].lower() == "foo"


def test_its_declaration_is_ready_to_paste(home: Home) -> None:
    content = parquet(
        id=pa.array([1]),
        day=pa.array([date(2026, 1, 1)]),
        price=pa.array([Decimal("1.50")]),
        small=pa.array([1], pa.int8()),
        wide=pa.array([1], pa.uint32()),
        nanos=pa.array([1], pa.timestamp("ns")),
        lists=pa.array([[1]]),
        _raw=pa.array([1]),
        **{"two words": pa.array([1])},
    )
    declared = yaml.safe_load(drift.declaration_of(check(home, PARQUET, content).drift.unknown))
    assert {column["name"]: column["data_type"] for column in declared} == {
        "day": "date",
        "price": "decimal(3,2)",
        "small": "int",
        "wide": "bigint",
    }
    assert all(column["description"] for column in declared)


# --- CSV


def quoted(value: str | None) -> str:
    return "" if value is None else '"' + value.replace('"', '""') + '"'


texts = st.text(st.sampled_from('ab ,"é\t'), max_size=4)


@often
@given(
    st.permutations([*NAMES, "Extra", "x y"]),
    st.sets(st.sampled_from(["name", "size", "Extra", "x y"])),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.lists(st.lists(st.none() | texts, min_size=5, max_size=5)),
)
def test_no_order_case_or_extra_column_changes_the_declared_values(
    names: list[str],
    left_out: set[str],
    is_upper: list[bool],
    rows: list[list[str | None]],
) -> None:
    delivered = [name for name in names if name not in left_out]
    header = [
        name.upper() if name in NAMES and is_upper[place] else name
        for place, name in enumerate(delivered)
    ]
    told = [dict(zip(names, row, strict=True)) for row in rows]
    lines = [",".join(map(quoted, header))]
    lines += [",".join(quoted(row[name]) for name in delivered) for row in told]
    found = [drift.fields_of(line.rstrip("\n")) for line in drift.transcribed_lines(lines, CSV)]
    assert found[0] == [*NAMES, "_rescued", "_raw"]
    for row, fields in zip(told, found[1:], strict=True):
        assert fields is not None
        *values, rescued, raw = fields
        assert values == [row[name] if name in delivered else None for name in NAMES]
        extra = {name: row[name] for name in ("Extra", "x y") if name in delivered}
        kept = {name: text for name, text in extra.items() if text is not None}
        assert json.loads(rescued or "{}") == kept
        assert raw is None


@often
@given(st.lists(st.tuples(texts, st.booleans()), min_size=1, max_size=4))
def test_fields_are_those_that_the_library_reads(fields: list[tuple[str, bool]]) -> None:
    line = ",".join(quoted(text) if is_quoted else text for text, is_quoted in fields)
    try:
        expected = next(csv.reader([line], strict=True)) or [""]
    except csv.Error:
        assert drift.fields_of(line) is None
        return
    assert [field or "" for field in drift.fields_of(line) or ()] == expected


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("", [None]),
        (",", [None, None]),
        ('"",a', ["", "a"]),
        ('"a""b,",c', ['a"b,', "c"]),
        ('a"b, "c"', ['a"b', ' "c"']),
        ('"a', None),
        ('"a"b,c', None),
        ('"a" ,c', None),
        ("x" * 200_000 + ",y", ["x" * 200_000, "y"]),
        ('""' * 200_000, ['"' * 199_999]),
    ],
)
def test_fields_of(line: str, fields: list[str | None] | None) -> None:
    assert drift.fields_of(line) == fields


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_transcription_has_the_same_rows_in_the_same_order(home: Home, pack: Any) -> None:
    content = pack(
        b'\xef\xbb\xbf\r\n"size",more,ID\r\n7,x,1\r\n\r\n8,2\r9,"a""b",3\n"open,x,4\n5,x,4,y\n,,6'
    )
    inspection = check(home, CSV, content, "sub/a.csv.gz" if pack is gzip.compress else "a b.csv")
    assert inspection.num_rows == 6
    target = gate.land(home, inspection)
    assert rows_of(target.read_bytes()) == [
        {"id": one, "name": "", "size": size, "_rescued": rescued, "_raw": raw}
        for one, size, rescued, raw in [
            ("1", "7", '{"more": "x"}', ""),
            ("", "", "", "8,2"),
            ("3", "9", '{"more": "a\\"b"}', ""),
            ("", "", "", '"open,x,4'),
            ("", "", "", "5,x,4,y"),
            ("6", "", "", ""),
        ]
    ]


# --- Parquet


@pytest.mark.parametrize(
    ("declared", "delivered", "values"),
    [
        ("bigint", pa.int8(), [-128, 127]),
        ("bigint", pa.uint32(), [0, 2**32 - 1]),
        ("bigint", pa.decimal128(18, 0), [Decimal(10**18 - 1), Decimal(1 - 10**18)]),
        ("int", pa.int16(), [-(2**15), 2**15 - 1]),
        ("int", pa.uint16(), [2**16 - 1]),
        ("double", pa.float32(), [0.1, 3e38, float("inf")]),
        ("double", pa.float16(), [0.5]),
        ("double", pa.int32(), [-(2**31), 2**31 - 1]),
        ("double", pa.uint32(), [2**32 - 1]),
        ("decimal(18,2)", pa.decimal128(9, 2), [Decimal("1234567.89")]),
        ("decimal(18,2)", pa.decimal128(17, 1), [Decimal(10**17 - 1).scaleb(-1)]),
        ("decimal(18,2)", pa.int32(), [-(2**31), 2**31 - 1]),
        ("decimal(20,0)", pa.uint64(), [2**64 - 1]),
        ("string", pa.null(), [None, None]),
        ("timestamp", pa.null(), [None]),
        ("decimal(18,2)", pa.null(), [None]),
    ],
)
def test_a_type_whose_values_the_declared_one_all_holds_is_cast(
    home: Home, declared: str, delivered: pa.DataType, values: list[Any]
) -> None:
    table = replace(PARQUET, columns=(Column("x", declared),), key=("x",))
    array = pa.array(values, delivered)
    rows = pq.read_table(BytesIO(landed(home, table, parquet(x=array)))).to_pylist()
    assert [row["x"] for row in rows] == array.to_pylist()
    assert [row["_rescued"] for row in rows] == [None] * len(values)


@pytest.mark.parametrize(
    ("declared", "delivered"),
    [
        ("bigint", pa.uint64()),
        ("bigint", pa.decimal128(19, 0)),
        ("bigint", pa.decimal128(3, 1)),
        ("bigint", pa.float64()),
        ("bigint", pa.string()),
        ("int", pa.int64()),
        ("int", pa.uint32()),
        ("double", pa.int64()),
        ("double", pa.decimal128(3, 1)),
        ("decimal(18,2)", pa.decimal128(18, 3)),
        ("decimal(18,2)", pa.decimal128(18, 1)),
        ("decimal(18,2)", pa.int64()),
        ("decimal(9,0)", pa.int32()),
        ("decimal(18,2)", pa.float64()),
        ("string", pa.int32()),
        ("string", pa.binary()),
        ("date", pa.timestamp("us")),
        ("timestamp", pa.date32()),
        ("timestamp", pa.timestamp("ns")),
        ("boolean", pa.int8()),
    ],
)
def test_any_other_type_is_refused(home: Home, declared: str, delivered: pa.DataType) -> None:
    table = replace(PARQUET, columns=(Column("x", declared),), key=("x",))
    reason = check(home, table, parquet(x=pa.nulls(1, delivered))).reason or ""
    written = "timestamp[ns]" if delivered == pa.timestamp("ns") else str(delivered)
    assert reason.startswith(f"column x is '{written}'; expected {declared}")


def test_a_parquet_files_unknown_columns_as_text(home: Home) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    content = parquet(
        id=pa.array([1, 2]),
        whole=pa.array([7, None]),
        share=pa.array([0.5, None]),
        flag=pa.array([True, None]),
        text=pa.array(["é\n", ""]),
        at=pa.array([at, None], pa.timestamp("us", "UTC")),
        nanos=pa.array([1, None], pa.timestamp("ns")),
        late=pa.array([2**63 - 1, None], pa.timestamp("us")),
        clock=pa.array([time(1, 2, 3), None]),
        price=pa.array([Decimal("1.50"), None]),
        data=pa.array([b"\xff\0", None]),
        nested=pa.array([{"a": [1, None], "b": b"\xff", "at": at}, None]),
        # Microseconds after 1970, of which 2**59 lie in 20237: Python's years end at 9999.
        years=pa.array([[1_111_111_111_000_000, 2**59], None], pa.list_(pa.timestamp("us"))),
    )
    rows = pq.read_table(BytesIO(landed(home, PARQUET, content))).to_pylist()
    assert json.loads(rows[0]["_rescued"]) == {
        "whole": "7",
        "share": "0.5",
        "flag": "true",
        "text": "é\n",
        "at": "2026-01-02 03:04:05.000000Z",
        "nanos": "1970-01-01 00:00:00.000000001",
        "late": "<value out of range: 9223372036854775807>",
        "clock": "01:02:03.000000",
        "price": "1.50",
        "data": "ff00",
        "nested": '{"a": [1, null], "b": "ff", "at": "2026-01-02 03:04:05+00:00"}',
        "years": "[[2005-03-18 01:58:31.000000,20237-04-25 10:45:03.423488]]",
    }
    assert json.loads(rows[1]["_rescued"]) == {"text": ""}
    assert [row["id"] for row in rows] == [1, 2]


def test_a_large_parquet_file_is_written_in_parts(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "_GROUP_BYTES", 10_000)
    content = parquet(more=pa.array(range(5000)), id=pa.array(range(5000)))
    found = pq.ParquetFile(BytesIO(landed(home, PARQUET, content)))
    assert found.num_row_groups > 5
    rows = found.read()
    assert rows["id"].to_pylist() == list(range(5000))
    assert rows["_rescued"][4321].as_py() == '{"more": "4321"}'
    empty = parquet(ID=pa.array([], pa.int64()))
    assert pq.read_table(BytesIO(landed(home, PARQUET, empty))).num_rows == 0


@often
@given(
    st.permutations(["id", "name", "size", "Extra"]),
    st.sets(st.sampled_from(["name", "size", "Extra"])),
    st.lists(st.booleans(), min_size=4, max_size=4),
    st.lists(
        st.tuples(
            st.integers(-(2**31), 2**31 - 1) | st.none(),
            st.text(max_size=3) | st.none(),
            st.floats(width=32, allow_nan=False) | st.none(),
            st.booleans() | st.none(),
        )
    ),
    st.booleans(),
)
def test_no_order_case_or_extra_column_changes_the_values_of_parquet(
    names: list[str],
    left_out: set[str],
    is_upper: list[bool],
    rows: list[tuple[Any, ...]],
    is_narrow: bool,
) -> None:
    types = {
        "id": pa.int32() if is_narrow else pa.int64(),
        "name": pa.string(),
        "size": pa.float32() if is_narrow else pa.float64(),
        "Extra": pa.bool_(),
    }
    told = [dict(zip(types, row, strict=True)) for row in rows]
    content = parquet(
        **{
            name.upper() if is_upper[place] else name: pa.array(
                [row[name] for row in told], types[name]
            )
            for place, name in enumerate(names)
            if name not in left_out
        }
    )
    with TemporaryDirectory() as folder:
        found = pq.read_table(BytesIO(landed(Home(Path(folder)), PARQUET, content))).to_pylist()
    for row, expected in zip(found, told, strict=True):
        for name in ("id", "name", "size"):
            assert row.get(name) == (None if name in left_out else expected[name])
        extra = None if "Extra" in left_out else expected["Extra"]
        rescued = [*json.loads(row.get("_rescued") or "{}").values()]
        assert rescued == ([] if extra is None else [str(extra).lower()])


# --- how it lands


def test_the_transcription_lands_and_the_archive_keeps_the_file(home: Home) -> None:
    inspection = check(home, CSV, GOOD, "new.csv")
    target = gate.land(home, inspection)
    sha = hashlib.sha256(GOOD).hexdigest()
    assert target == home.landing / "s.c" / f"{sha}_new=2Ecsv.csv"
    assert gate.delivered_name(str(target)) == "new.csv"
    assert gate.landed_files(home, "s.c") == {sha: target}
    assert rows_of(target.read_bytes()) == [
        {"id": "1", "name": "", "size": "7", "_rescued": '{"more": "x"}', "_raw": ""}
    ]
    assert gate.waiting_files(home, CSV) == []
    [kept] = [path for path in home.archive.rglob("*") if path.is_file()]
    assert kept == home.archive / "s.c" / "delivered" / f"{sha}-new=2Ecsv"
    assert kept.read_bytes() == GOOD
    assert gate.land(home, inspection) == target
    assert gate.archive_landed(home, "s.c") == 1
    assert kept.read_bytes() == GOOD


@pytest.mark.parametrize("moment", ["transcribed_lines", "copied", "landed"])
def test_a_crash_while_it_lands_is_made_up_for(
    home: Home, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    inspection = check(home, CSV, GOOD)
    moves: list[Path] = []
    rename = Path.replace

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    def crash_after(path: Path, target: Path) -> Path:
        moved = rename(path, target)
        moves.append(target)
        if len(moves) == ("copied", "landed").index(moment) + 1:
            raise KeyboardInterrupt
        return moved

    with monkeypatch.context() as patch:
        if moment == "transcribed_lines":
            patch.setattr(gate, moment, crash)
        else:
            patch.setattr(Path, "replace", crash_after)
        with pytest.raises(KeyboardInterrupt):
            gate.land(home, inspection)
    assert inspection.path.read_bytes() == GOOD
    assert (inspection.sha256 in gate.landed_files(home, "s.c")) == (moment == "landed")
    target = gate.land(home, inspection)
    assert rows_of(target.read_bytes())[0]["size"] == "7"
    [kept] = [path for path in home.archive.rglob("*") if path.is_file()]
    assert kept.read_bytes() == GOOD
    assert gate.waiting_files(home, CSV) == []


@pytest.mark.parametrize("content", [b"id\n9\n", b"", b"\xff"])
@pytest.mark.parametrize("step", ["shutil.copyfile", "ingestion.gate.transcribed_lines"])
def test_a_file_that_changes_while_it_is_transcribed_waits(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str, content: bytes
) -> None:
    inspection = check(home, CSV, GOOD)
    take = {"copyfile": shutil.copyfile, "transcribed_lines": drift.transcribed_lines}

    def change(*args: Any, **options: Any) -> Any:
        inspection.path.write_bytes(content)
        return take[step.rpartition(".")[2]](*args, **options)  # type: ignore[operator]

    monkeypatch.setattr(step, change)
    with pytest.raises(StillBeingWritten, match="changed after it was read"):
        gate.land(home, inspection)
    assert inspection.path.read_bytes() == content
    assert not [path for path in home.landing.rglob("*") if path.is_file()]
    assert not [path for path in home.archive.rglob("*") if path.is_file()]


def test_an_archive_that_cannot_be_written(home: Home) -> None:
    inspection = check(home, CSV, GOOD)
    home.archive.write_text("a file")
    with pytest.raises(GateError, match="the rights to write it, and free space"):
        gate.land(home, inspection)
    assert inspection.path.read_bytes() == GOOD
