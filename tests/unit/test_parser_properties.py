"""What holds for every value and row that the oracles read, against other definitions of it."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion import gate
from ingestion.declaration import Column, SourceTable
from tests.oracle.network import marts as network
from tests.oracle.wearables import marts as wearables
from tests.oracle.wearables.marts import SECOND, UnreadableError

often = settings(max_examples=100, deadline=None)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())

# --- parsers

shapes = st.one_of(
    st.text(),
    st.text("0123456789+-.eE:/TZtz \u0660", max_size=30),
    st.from_regex(r" ?[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})? ?", fullmatch=True),
    st.from_regex(
        r"[0-9]{4}-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-9]{2}(\.[0-9]+)?"
        r"(Z|z|[+-][0-2][0-9]:?[0-9]{2})?",
        fullmatch=True,
    ),
    st.from_regex(r"[01][0-9]/[0-3][0-9]/[0-9]{4}", fullmatch=True),
)


@often
@given(
    st.datetimes(timezones=st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m)))),
    st.integers(0, 999),
    st.sampled_from("Tt "),
    st.booleans(),
)
def test_a_time_is_read_as_it_was_written(
    moment: datetime, nanos: int, separator: str, is_colon_left_out: bool
) -> None:
    text = f"{moment.replace(tzinfo=None).isoformat(separator, 'microseconds')}{nanos:03}"
    zone = f"{moment:%z}" if is_colon_left_out else moment.isoformat()[-6:]
    micros = (moment - EPOCH) // timedelta(microseconds=1) + (nanos >= 500)
    if 0 <= micros < (LAST_SECOND + 1) * SECOND and moment >= EPOCH:
        assert wearables.instant(text + zone) == micros
        assert wearables.instant(text + zone, micros) == micros
        with pytest.raises(UnreadableError):
            wearables.instant(text + zone, micros - 1)
    else:
        with pytest.raises(UnreadableError):
            wearables.instant(text + zone)


@often
@given(
    st.decimals(0, LAST_SECOND, places=7) | st.integers(10**11 - 2, 10**11 + 2).map(Decimal),
    st.sampled_from(("f", "e", "+f")),
)
def test_an_epoch_is_seconds_or_from_1e11_on_milliseconds(epoch: Decimal, style: str) -> None:
    unit = 1000 if epoch >= 10**11 else SECOND
    micros = int((epoch * unit).quantize(Decimal(1), ROUND_HALF_UP))
    assert wearables.instant(f" {epoch:{style}}\t") == micros


@often
@given(
    st.decimals(0, LAST_SECOND * 1000, places=3),
    st.integers(-3, 14),
    st.integers(0, 6),
    st.sampled_from(("e", "E+")),
)
def test_a_time_in_scientific_notation_tells_its_second(
    epoch: Decimal, exponent: int, digits_less: int, mark: str
) -> None:
    scaled = epoch.scaleb(-exponent)
    digits = max(exponent + 3 - 2 * digits_less, 0)
    mantissa = f"{scaled:.{digits}f}"
    mark = mark[0] if exponent < 0 else mark
    written = Decimal(f"{mantissa}e{exponent}")
    last_digit = written.as_tuple().exponent
    assert isinstance(last_digit, int)
    unit, most = (1000, 3) if written >= 10**11 else (SECOND, 0)
    # Else its last digit is worth ten units of the second or more.
    if last_digit <= most and (micros := int(written * unit)) < (LAST_SECOND + 1) * SECOND:
        assert abs(wearables.instant(f"{mantissa}{mark}{exponent}") - micros) <= 1
    else:
        with pytest.raises(UnreadableError):
            wearables.instant(f"{mantissa}{mark}{exponent}")


@often
@given(st.integers(0, 60), st.sampled_from(("", " ", "\t")), st.integers(0, 1500))
def test_what_is_longer_than_40_characters_is_no_number(zeros: int, space: str, more: int) -> None:
    texts = [f"1678410000.{'0' * zeros}", f"{'0' * (zeros + more)}7"]
    for text, read in zip(texts, (wearables.instant, wearables._integer), strict=True):
        if len(text) <= 40:
            read(f"{space}{text}{space}")
        else:
            with pytest.raises(UnreadableError):
                read(f"{space}{text}{space}")
    rate = wearables._number(f"{space}{texts[0]}{space}")
    assert rate == (1678410000 if len(texts[0]) <= 40 else None)


@often
@given(shapes)
def test_any_text_is_a_value_or_unreadable(text: str) -> None:
    for read in (wearables.instant, wearables._integer, wearables._mac, wearables._object):
        with contextlib.suppress(UnreadableError):
            read(text)
    with contextlib.suppress(UnreadableError):
        assert 0 <= wearables.instant(text) < (LAST_SECOND + 1) * SECOND
    rate = wearables._number(text)
    assert rate is None or (math.isfinite(rate) and rate == float(text.strip()))
    born = wearables._dob(text)
    assert born is None or f"{born:%m/%d/}{born.year:04}" == text


@often
@given(st.integers(-(2**65), 2**65) | st.sampled_from((-(2**63), 2**63)), st.integers(-1, 1))
def test_an_integer_is_read_where_64_bits_hold_it(near: int, off: int) -> None:
    number = near + off
    if -(2**63) <= number < 2**63:
        assert wearables._integer(f" {number} ") == number
        assert wearables._integer(f"{number:+}") == number
    else:
        with pytest.raises(UnreadableError):
            wearables._integer(str(number))


@often
@given(st.binary(max_size=8), st.sampled_from((str.upper, str.lower)), st.sampled_from(":-"))
def test_six_octets_in_hex_with_colons_are_a_mac_and_nothing_else(
    octets: bytes, cased: Callable[[str], str], separator: str
) -> None:
    text = octets.hex(separator)
    if len(octets) == 6 and separator == ":":
        assert wearables._mac(f" {cased(text)} ") == text
    else:
        with pytest.raises(UnreadableError):
            wearables._mac(cased(text))


@often
@given(st.dates(), st.floats(allow_nan=False, allow_infinity=False))
def test_birth_dates_and_rates_are_read_as_they_were_written(born: date, rate: float) -> None:
    assert wearables._dob(f"{born.month:02}/{born.day:02}/{born.year:04}") == born
    exponent = repr(rate).partition("e")[2].lstrip("+-")
    assert wearables._number(repr(rate)) == (rate if len(exponent) <= 2 else None)


@often
@given(st.integers(0, 10**15), st.floats(0, 1e9) | st.floats())
def test_a_speed_is_its_decimal_text_in_bits_rounded_half_up(bps: int, mbps: float) -> None:
    assert network.bits_per_second(bps / 1e6) == bps
    found = network.bits_per_second(mbps)
    if 0 <= mbps <= 1e9:
        assert found == math.floor(Fraction(repr(mbps)) * 10**6 + Fraction(1, 2))
    else:
        assert found is None


PRIVATE = [IPv4Network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")]
octets = st.sampled_from(("10", "172", "192", "168", "16", "0", "256", "01", "-1", ""))


@settings(max_examples=500, deadline=None)
@given(
    st.text()
    | st.tuples(
        st.sampled_from([edge for net in PRIVATE for edge in (net[0], net[-1])]),
        st.integers(-1, 1),
    ).map(lambda near: str(near[0] + near[1]))
    | st.lists(octets | st.integers(0, 300).map(str), min_size=3, max_size=5).map(".".join)
)
def test_private_addresses_are_those_of_the_ipaddress_module(text: str) -> None:
    try:
        is_private = any(IPv4Address(text) in net for net in PRIVATE)
    except ValueError:
        is_private = False
    assert network.is_private_ipv4(text) == is_private


# --- rows

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | shapes,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
FIELDS = (
    *("user_id", "timestamp", "update_type", "dob", "address", "action", "workout_id"),
    *("session_id", "device_id", "time", "heartrate"),
)
bodies = st.dictionaries(
    st.sampled_from(FIELDS), values | st.sampled_from(("1", 1, "new", "start")), max_size=8
)


def is_json(body: object) -> bool:
    try:
        return bool(json.dumps(body, allow_nan=False))
    except ValueError:
        return False


between = st.sampled_from(("", " ", "\t", "\r\n", ",", "[", "]", "}", "x", "\0", "\f", "\xa0"))


@often
@given(
    st.lists(bodies.filter(is_json).map(json.dumps), max_size=2),
    st.lists(between, max_size=3),
    st.data(),
)
def test_a_text_is_one_object_and_nothing_else_or_no_message(
    objects: list[str], more: list[str], data: st.DataObject
) -> None:
    text = "".join(data.draw(st.permutations([*objects, *more])))
    if len(objects) == 1 and not "".join(more).strip(" \t\r\n"):
        assert wearables._object(text).keys() == json.loads(objects[0]).keys()
    else:
        with pytest.raises(UnreadableError):
            wearables._object(text)


@often
@given(
    st.lists(
        st.text()
        | st.fixed_dictionaries(
            {
                "topic": st.sampled_from(("user_info", "workout", "bpm")) | values,
                "value": bodies | bodies.map(json.dumps) | values,
            },
            optional=dict.fromkeys(("key", "timestamp", "partition", "offset"), values),
        ).map(json.dumps),
        max_size=6,
    )
)
def test_any_message_is_accepted_a_duplicate_or_rejected(messages: list[str]) -> None:
    found = wearables.answers(wearables.Deliveries(messages=messages))
    counts = found.table_counts[wearables.KAFKA_MULTIPLEX]
    assert counts["events_in"] == len(messages)
    outcomes = [counts[name] for name in ("accepted", "duplicates", "row_rejects")]
    assert sum(outcomes) == len(messages)
    assert min(outcomes) >= 0
    found.plain()


@often
@given(
    st.sampled_from((wearables.REGISTERED_USERS, wearables.KAFKA_MULTIPLEX)),
    st.lists(st.sampled_from(("1", ",", '"', "\n", "\r\n", " ", "\t", "é", "{}"))).map("".join),
    st.booleans(),
)
def test_the_oracle_reads_as_many_rows_as_the_gate_counts(
    table: str, text: str, is_packed: bool
) -> None:
    columns = wearables.CSV_COLUMNS.get(table, ())
    content = f"{','.join(columns) or '{}'}\r\n{text}".encode()
    declared = tuple(Column(name, "string") for name in columns)
    source = SourceTable("s", "t", "s_t", declared, "csv" if columns else "json", (), "fail")
    name, delivered = ("a.gz", gzip.compress(content)) if is_packed else ("a", content)
    found = wearables.read_contents({table: [(name, delivered)]})
    rows = found.registrations if columns else found.messages
    assert len(rows) == gate.count_rows(iter([content]), source)[0]
