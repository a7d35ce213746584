"""Answers come out as values that JSON has, whatever is in them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from contextlib import redirect_stdout
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import types as spark

from lakehouse import reading
from lakehouse.cli import Format, Output

INT64, INT32 = st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1)


def bad_text(*values: bytes) -> pa.Array:
    return pa.array(values, pa.binary()).view(pa.string())


def read(array: pa.Array) -> list[Any]:
    names, rows = reading.rows_of(pa.table({"x": array}))
    assert names == ["x"]
    return [value for [value] in rows]


# Days by the calendar: 400 years have 146,097; 1970-01-01 is 719,528 days after 0000-01-01.
@pytest.mark.parametrize(
    ("array", "values"),
    [
        (pa.array([float("nan"), float("inf"), -float("inf"), 1.5, None]), None),
        (pa.array([Decimal("0E-9"), Decimal("1.10"), None], pa.decimal128(38, 9)), None),
        (pa.array([b"\0\xffA", b"", None]), ["00ff41", "", None]),
        (bad_text(b"M\xfcnchen", b"\xed\xa0\x80"), ["M\\xfcnchen", "\\xed\\xa0\\x80"]),
        (bad_text(b"a", b"\xff").cast(pa.large_string()), ["a", "\\xff"]),
        (
            pa.array([0, -719_528, -719_529, 3_652_425 - 719_528, 2**31 - 1, None], pa.date32()),
            ["1970-01-01", "0000-01-01", "-0001-12-31", "10000-01-01", "5881580-07-11", None],
        ),
        (
            pa.array([0, -1, 2**63 - 1, -(2**63)], pa.timestamp("us", "UTC")),
            [
                "1970-01-01 00:00:00+00:00",
                "1969-12-31 23:59:59.999999+00:00",
                "294247-01-10 04:00:54.775807+00:00",
                "-290308-12-21 19:59:05.224192+00:00",
            ],
        ),
        (pa.array([1_500], pa.timestamp("ms")), ["1970-01-01 00:00:01.500000"]),
        (
            pa.array([-93_784_500_000, 0, None], pa.duration("us")),
            ["-1 02:03:04.500000", "0 00:00:00", None],
        ),
        (
            pa.array([[1, None], [], None, [2]], pa.list_(pa.int32())),
            [[1, None], [], None, [2]],
        ),
        (
            pa.array([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int32())),
            [{"a": 1, "b": None}, {}, None],
        ),
        (
            pa.array([[(1, 1.5)], [(2, float("nan"))]], pa.map_(pa.int32(), pa.float64())),
            [{"1": 1.5}, {"2": "NaN"}],
        ),
        (
            pa.array([[({"a": 1}, "x")]], pa.map_(pa.struct([("a", pa.int32())]), pa.string())),
            [{'{"a": 1}': "x"}],
        ),
        (
            pa.MapArray.from_arrays([0, 2], bad_text(b"\xff", b"\\xff"), pa.array([1, 2])),
            [[["\\xff", 1], ["\\xff", 2]]],
        ),
        (
            pa.array([{"a": [b"\xff"]}, None, {"a": None}]),
            [{"a": ["ff"]}, None, {"a": None}],
        ),
        (
            pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]),
            [[["a", 1], ["a", 2]]],
        ),
        (pa.array([{}, None], pa.struct([])), [{}, None]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda given: str(given.type) if isinstance(given, pa.Array) else "",
)
def test_values(array: pa.Array, values: list[Any] | None) -> None:
    expected = {
        "double": ["NaN", "Infinity", "-Infinity", 1.5, None],
        "decimal128(38, 9)": ["0.000000000", "1.100000000", None],
    }
    assert read(array) == (expected[str(array.type)] if values is None else values)


def test_pieces_of_an_answer_come_in_their_order() -> None:
    lists = pa.array([[{"a": 1}], [{"a": 2}, {"a": 3}], None, [{"a": 4}]])
    column = pa.chunked_array([lists[1:3], lists[3:], lists[:0], lists[:1]])
    assert read(column) == [[{"a": 2}, {"a": 3}], None, [{"a": 4}], [{"a": 1}]]


@given(st.datetimes(), st.sampled_from(["s", "ms", "us"]))
def test_times_that_python_has_are_as_python_writes_them(at: datetime, unit: str) -> None:
    kept = {"s": 1_000_000, "ms": 1_000, "us": 1}[unit]
    at = at.replace(microsecond=at.microsecond // kept * kept)
    stored = pa.array([at], pa.timestamp(unit))
    assert read(stored) == [str(at)]
    assert read(stored.cast(pa.timestamp(unit, "UTC"))) == [str(at.replace(tzinfo=UTC))]
    assert read(pa.array([at.date()])) == [str(at.date())]


@given(st.integers(-5_000_000, 5_000_000), st.integers(-14_000, 14_000))
def test_the_calendar_repeats_after_400_years(days: int, cycles: int) -> None:
    try:
        day = date(1970, 1, 1) + timedelta(days)
    except OverflowError:
        day = date(2000, 1, 1)
        days = 10_957
    [text] = read(pa.array([days + cycles * 146_097], pa.date32()))
    year, rest = re.fullmatch(r"(-?\d+)(-\d\d-\d\d)", text).groups()  # type: ignore[union-attr]
    assert (int(year), rest) == (day.year + cycles * 400, day.isoformat()[4:])


def of_ints(kind: pa.DataType, values: st.SearchStrategy[int]) -> st.SearchStrategy[pa.Array]:
    width = pa.int32() if kind == pa.date32() else pa.int64()
    return st.lists(st.none() | values, max_size=4).map(
        lambda ints: pa.array(ints, width).cast(kind)
    )


leaves = st.one_of(
    st.lists(st.none() | st.binary(max_size=6), max_size=4).map(
        lambda raw: pa.array(raw, pa.binary()).view(pa.string())
    ),
    st.lists(st.none() | st.text(max_size=6), max_size=4).map(
        lambda raw: pa.array(raw, pa.string())
    ),
    st.lists(st.none() | st.binary(max_size=6), max_size=4).map(
        lambda raw: pa.array(raw, pa.binary())
    ),
    st.lists(st.none() | st.floats(), max_size=4).map(lambda raw: pa.array(raw, pa.float64())),
    st.lists(st.none() | st.floats(width=32), max_size=4).map(
        lambda raw: pa.array(raw, pa.float32())
    ),
    st.lists(st.none() | st.booleans(), max_size=4).map(lambda raw: pa.array(raw, pa.bool_())),
    st.lists(st.none() | st.decimals(-(10**20), 10**20, places=9), max_size=4).map(
        lambda raw: pa.array(raw, pa.decimal128(38, 9))
    ),
    st.integers(0, 4).map(pa.nulls),
    of_ints(pa.int64(), INT64),
    of_ints(pa.date32(), INT32),
    *(of_ints(pa.timestamp(unit, "UTC"), INT64) for unit in ("s", "ms", "us", "ns")),
    of_ints(pa.timestamp("us"), INT64),
    *(of_ints(pa.duration(unit), INT64) for unit in ("s", "ms", "us", "ns")),
)


def nested(inner: st.SearchStrategy[pa.Array]) -> st.SearchStrategy[pa.Array]:
    def structs(array: pa.Array) -> pa.Array:
        return pa.StructArray.from_arrays([array, array], ["a", "é\n"])

    def lists(array: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays([0, len(array) // 2, None, len(array)], array)

    def maps(array: pa.Array) -> pa.Array:
        whole = array.drop_null()
        return pa.MapArray.from_arrays([0, len(whole)], whole, whole)

    return st.one_of(inner.map(structs), inner.map(lists), inner.map(maps))


@settings(max_examples=200, deadline=None)
@given(st.recursive(leaves, nested, max_leaves=3), st.text(), st.integers(0, 2))
def test_whatever_is_in_a_table_is_printed(array: pa.Array, name: str, start: int) -> None:
    array = array[start:]
    names, rows = reading.rows_of(pa.table({name: array}))
    assert len(rows) == len(array)
    for [value], is_there in zip(rows, array.is_valid().to_pylist(), strict=True):
        assert (value is not None) == is_there
    [as_json, as_csv, as_table] = [
        printed(lambda style=style: Output().rows(names, rows, style))
        for style in (Format.JSON, Format.CSV, Format.TABLE)
    ]
    told = json.loads(as_json, parse_constant=pytest.fail)
    assert told == [{name: value} for [value] in rows]
    lines = list(csv.reader(io.StringIO(as_csv, newline="")))
    assert [line[0] if line else "" for line in lines[:1]] == [name]
    assert len(lines) == 1 + len(rows)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", as_table)
    assert as_table.count("\n") == 1 + len(rows)


def printed(write: Callable[[], None]) -> str:
    # with the letters that no text may have, as a terminal shows them
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="")
    with redirect_stdout(out):
        write()
    out.flush()
    return out.buffer.getvalue().decode()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("data_type", "is_text"),
    [
        (spark.VariantType(), True),
        (spark.YearMonthIntervalType(), True),
        (spark.CalendarIntervalType(), True),
        (spark.TimeType(), True),
        (spark.ArrayType(spark.VariantType()), True),
        (spark.MapType(spark.StringType(), spark.ArrayType(spark.TimeType())), True),
        (spark.StructType().add("a", "integer").add("a", "integer"), True),
        (spark.StructType().add("a", spark.StructType().add("b", spark.VariantType())), True),
        (
            spark.StructType().add("a", "integer").add("b", spark.ArrayType(spark.TimestampType())),
            False,
        ),
        (spark.DayTimeIntervalType(), False),
        (spark.NullType(), False),
    ],
    ids=lambda given: given.simpleString() if isinstance(given, spark.DataType) else "",
)
def test_what_arrow_does_not_bring_is_asked_for_as_text(
    data_type: spark.DataType, is_text: bool
) -> None:
    assert reading._is_asked_for_as_text(data_type) == is_text
