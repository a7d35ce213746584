"""Questions to the lakehouse: a statement's rows, and where everything stands.

    statement --ask--> Arrow --rows_of--> values that JSON has

Whatever is in a table has a form that can be printed: bronze holds what was delivered.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the field's name for it
from pyspark.sql.types import (
    ArrayType,
    CalendarIntervalType,
    DataType,
    MapType,
    StructType,
    TimeType,
    VariantType,
    YearMonthIntervalType,
)

from ingestion.bronze import connect
from ingestion.declaration import SourceTable
from ingestion.feed import with_parts
from ingestion.gate import waiting_files
from ingestion.home import Home
from lakehouse import engine
from lakehouse.domains import JOURNAL
from lakehouse.errors import LakehouseError
from lakehouse.settings import Settings

Row = dict[str, Any]
# The rows of a statement, in values that JSON has; None: what it reads is not there.
Ask = Callable[[str], list[Row] | None]

# What Arrow has no type for, or bytes instead of a text.
_ASKED_FOR_AS_TEXT = (CalendarIntervalType, TimeType, VariantType, YearMonthIntervalType)
_SECONDS_PER_DAY = 86_400
_TICKS_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# From the first day of year 1, which Python counts as 1.
_DAYS_BEFORE_1970 = date(1970, 1, 1).toordinal() - 1
# After so many days the Gregorian calendar repeats, and after so many years.
_DAYS_PER_CYCLE, _YEARS_PER_CYCLE = 146_097, 400


def ask(spark: SparkSession, sql: str) -> tuple[list[str], list[list[Any]]]:
    """The column names and rows of one statement, as `rows_of` has them.

    Raises:
        PySparkException: The statement cannot be run; its first line is the engine's reason.
    """
    return rows_of(_in_arrow(spark.sql(sql)))


def asking(session: SparkSession) -> Ask:
    """Asks in an open session."""

    def records(sql: str) -> list[Row] | None:
        try:
            columns, rows = ask(session, sql)
        except AnalysisException as error:
            if error.getCondition() == "TABLE_OR_VIEW_NOT_FOUND":
                return None
            raise
        return [dict(zip(columns, row, strict=True)) for row in rows]

    return records


def asking_what_is_up(settings: Settings) -> Ask:
    """Asks the engine that is up, whichever it is; it starts none that somebody has stopped."""

    def records(sql: str) -> list[Row] | None:
        running = engine.running_engine(settings)
        if running is None:
            raise LakehouseError("The engine is not up. Start it with: lakehouse up")
        # By default one that has gone is awaited for ten minutes, without a word.
        return asking(connect(running.remote, running.identity, max_retries=3))(sql)

    return records


def _in_arrow(answer: DataFrame) -> pa.Table:
    """An answer's rows; columns that Arrow does not bring are text, which the engine makes."""
    names = answer.columns
    are_text = [_is_asked_for_as_text(field.dataType) for field in answer.schema]
    if any(are_text):
        numbered = answer.toDF(*map(str, range(len(names))))  # two columns may have one name
        answer = numbered.select(
            *[
                F.col(str(index)).cast("string") if is_text else F.col(str(index))
                for index, is_text in enumerate(are_text)
            ]
        )
    return answer.toArrow().rename_columns(names)


def _is_asked_for_as_text(data_type: DataType) -> bool:
    inner: list[DataType] = []
    if isinstance(data_type, StructType):
        if len(set(data_type.names)) < len(data_type.names):
            return True
        inner = [field.dataType for field in data_type]
    elif isinstance(data_type, ArrayType):
        inner = [data_type.elementType]
    elif isinstance(data_type, MapType):
        inner = [data_type.keyType, data_type.valueType]
    return isinstance(data_type, _ASKED_FOR_AS_TEXT) or any(map(_is_asked_for_as_text, inner))


def rows_of(answer: pa.Table) -> tuple[list[str], list[list[Any]]]:
    r"""The column names and rows of an answer, in values that JSON has; it takes every value.

    Numbers and booleans are themselves, but decimals are text, which keeps their digits, and so are
    `NaN`, `Infinity` and `-Infinity`, which JSON has no number for (as Spark's `to_json` has it;
    null would make them nulls). Times are text in UTC, of any year; lengths of time are days and
    the time of day. Binary values are hex. Bytes in a text that are not UTF-8 show as `\xff`.
    Structs and maps are objects, a map's keys being text; where two keys are the same text, or two
    fields have one name, they are lists of pairs.
    """
    columns = [
        [value for chunk in column.chunks for value in _values(chunk)] for column in answer.columns
    ]
    return answer.column_names, [list(row) for row in zip(*columns, strict=True)]


def _values(array: pa.Array) -> list[Any]:
    for is_of_type, read in _READERS:
        if is_of_type(array.type):
            return read(array)
    return _each(array, str)


def _each(array: pa.Array, read: Callable[[Any], Any]) -> list[Any]:
    return [None if value is None else read(value) for value in array.to_pylist()]


def _numbers(array: pa.Array) -> list[Any]:
    values: list[Any] = array.to_pylist()
    return values


def _floats(array: pa.Array) -> list[Any]:
    def read(number: float) -> float | str:
        if math.isnan(number):
            return "NaN"
        return number if math.isfinite(number) else "Infinity" if number > 0 else "-Infinity"

    return _each(array, read)


def _decimals(array: pa.Array) -> list[Any]:
    return _each(array, lambda number: format(number, "f"))


def _texts(array: pa.Array) -> list[Any]:
    raw = array.cast(pa.binary() if pa.types.is_string(array.type) else pa.large_binary())
    return _each(raw, lambda text: text.decode("utf-8", "backslashreplace"))


def _bytes(array: pa.Array) -> list[Any]:
    return _each(array, bytes.hex)


def _dates(array: pa.Array) -> list[Any]:
    return _each(array.cast(pa.int32()), _day)


def _timestamps(array: pa.Array) -> list[Any]:
    zone = "+00:00" if array.type.tz else ""
    ticks = _TICKS_PER_SECOND[array.type.unit]

    def read(value: int) -> str:
        days, rest = divmod(value, _SECONDS_PER_DAY * ticks)
        return f"{_day(days)} {_time_of_day(rest * 1_000_000 // ticks)}{zone}"

    return _each(array.cast(pa.int64()), read)


def _durations(array: pa.Array) -> list[Any]:
    ticks = _TICKS_PER_SECOND[array.type.unit]

    def read(value: int) -> str:
        days, rest = divmod(abs(value), _SECONDS_PER_DAY * ticks)
        sign = "-" if value < 0 else ""
        return f"{sign}{days} {_time_of_day(rest * 1_000_000 // ticks)}"

    return _each(array.cast(pa.int64()), read)


def _lists(array: pa.Array) -> list[Any]:
    items = _values(array.values)
    return _where_valid(array, (items[where] for where in _slices(array)))


def _maps(array: pa.Array) -> list[Any]:
    keys, items = _values(array.keys), _values(array.items)
    texts = [key if isinstance(key, str) else json.dumps(key, ensure_ascii=False) for key in keys]
    return _where_valid(array, (_object(texts[at], items[at]) for at in _slices(array)))


def _structs(array: pa.Array) -> list[Any]:
    names = [field.name for field in array.type]
    fields = [_values(field) for field in array.flatten()]
    rows = zip(*fields, strict=True) if fields else itertools.repeat((), len(array))
    return _where_valid(array, (_object(names, row) for row in rows))


def _slices(array: pa.Array) -> list[slice]:
    return [slice(*ends) for ends in itertools.pairwise(array.offsets.to_pylist())]


def _where_valid(array: pa.Array, values: Iterable[Any]) -> list[Any]:
    is_valid = array.is_valid().to_pylist()
    return [value if valid else None for value, valid in zip(values, is_valid, strict=True)]


def _object(names: list[str], values: Iterable[Any]) -> Any:
    pairs = list(zip(names, values, strict=True))
    return dict(pairs) if len(set(names)) == len(names) else [list(pair) for pair in pairs]


def _time_of_day(micros: int) -> str:
    return str((datetime.min + timedelta(microseconds=micros)).time())


def _day(days: int) -> str:
    """The date so many days after 1970-01-01, also of a year that Python has no date for."""
    cycles, rest = divmod(days + _DAYS_BEFORE_1970, _DAYS_PER_CYCLE)
    day = date.fromordinal(rest + 1)
    year = day.year + cycles * _YEARS_PER_CYCLE
    return f"{'-' if year < 0 else ''}{abs(year):04d}{day.isoformat()[4:]}"


_READERS: tuple[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array], list[Any]]], ...] = (
    (pa.types.is_integer, _numbers),
    (pa.types.is_boolean, _numbers),
    (pa.types.is_floating, _floats),
    (pa.types.is_decimal, _decimals),
    (pa.types.is_string, _texts),
    (pa.types.is_large_string, _texts),
    (pa.types.is_binary, _bytes),
    (pa.types.is_large_binary, _bytes),
    (pa.types.is_date32, _dates),
    (pa.types.is_timestamp, _timestamps),
    (pa.types.is_duration, _durations),
    (pa.types.is_list, _lists),
    (pa.types.is_large_list, _lists),
    (pa.types.is_map, _maps),
    (pa.types.is_struct, _structs),
)


def status(
    spark: SparkSession, home: Home, tables: list[SourceTable]
) -> dict[str, list[dict[str, Any]]]:
    """Where everything stands.

    Returns:
        `sources`: per source files waiting, taken in, doubled and refused, their rows, those of
        which something is kept in `_rescued`, rejects, unmatched events, the last load and the
        seconds since it; `domains`: up to which load each is built and readers see it, since when
        that is not the same or something is left to build, and how many nodes have to be built
        anew; `marts`: per mart the load that readers see and when it was published; `failing`: per
        source that no round has taken in since when, and what its last round said.
    """
    domains, marts = _domains(spark), _marts(spark)
    files = _by_source(
        spark,
        """
        with fates as (
            select
                source,
                -- A file is written down before it is moved: after a crash, twice.
                max_by(status, recorded_at) filter (where status in ('landed', 'left')) as fate,
                count_if(status = 'duplicate') as duplicates,
                count_if(status = 'quarantined') as refusals
            from audit.files
            group by source, sha256
        )

        select
            source,
            count_if(fate = 'landed') as files,
            sum(duplicates) as duplicate_files,
            sum(refusals) as quarantined_files
        from fates
        group by source
        """,
        "audit.files",
    )
    rows = _by_source(
        spark,
        "select source, coalesce(sum(num_rows), 0) as rows, "
        "max(load_id) filter (where status = 'finished') as last_load, "
        "timestampdiff(second, max(recorded_at) filter (where status = 'finished'), "
        "current_timestamp()) as seconds_since "
        "from audit.loads where source is not null group by source",
        "audit.loads",
    )
    rescued = _by_source(
        spark,
        " union all ".join(
            f"select '{table.full_name}' as source, count(_rescued) as rescued_rows "
            f"from {table.bronze_name}"
            for table in tables
        ),
        tables[0].bronze_name,
    )
    rejects = _by_source(
        spark,
        "select source, count_if(level = 'row') as row_rejects, "
        "count_if(level = 'field') as field_rejects from audit.rejects group by source",
        "audit.rejects",
    )
    unmatched = _by_source(
        spark,
        "select source, sum(num_events) as unmatched from audit.unmatched group by source",
        "audit.unmatched",
    )
    waiting: Counter[str] = Counter()
    for part in with_parts(tables):
        waiting[part.full_name] += len(waiting_files(home, part))
    none_yet = {"files": 0, "rows": 0, "duplicate_files": 0, "quarantined_files": 0}
    sources = []
    for table in tables:
        name = table.full_name
        taken_in = files.get(name, {}) | rows.get(name, {})
        sources.append(
            {"source": name, "waiting": waiting[name]}
            | {key: taken_in.get(key, zero) for key, zero in none_yet.items()}
            | {"rescued_rows": rescued.get(name, {}).get("rescued_rows", 0)}
            | {key: rejects.get(name, {}).get(key, 0) for key in ("row_rejects", "field_rejects")}
            | {"unmatched": unmatched.get(name, {}).get("unmatched", 0)}
            | {key: taken_in.get(key) for key in ("last_load", "seconds_since")}
        )
    failing = _records(
        spark,
        """
        with finished as (
            select
                source,
                max(load_id) as load_id
            from audit.loads
            where status = 'finished'
            group by source
        )

        select
            loads.source,
            min(loads.recorded_at) as since,
            max_by(loads.message, loads.load_id) as failure
        from audit.loads as loads
        left join finished on loads.source = finished.source
        where loads.status = 'failed' and loads.load_id > coalesce(finished.load_id, 0)
        group by loads.source
        order by loads.source
        """,
        "audit.loads",
    )
    return {"sources": sources, "domains": domains, "marts": marts, "failing": failing}


def _domains(spark: SparkSession) -> list[dict[str, Any]]:
    return _records(
        spark,
        """
        with steps as (
            select
                *,
                greatest(size(details.pending), 0) as num_pending
            from (
                select
                    *,
                    from_json(
                        state,
                        'is_being_written boolean, pending array<string>, '
                        'marts map<string, bigint>, gold map<string, bigint>, held bigint'
                    ) as details
                from audit.domains
            )
        ),

        judged as (
            select
                *,
                max(
                    if(
                        built = published
                        and num_pending = 0
                        and not coalesce(details.is_being_written, false)
                        and array_sort(map_entries(details.marts))
                        <=> array_sort(map_entries(details.gold)),
                        number,
                        0
                    )
                ) over (partition by domain) as up_to_date
            from steps
        )

        select
            domain,
            max_by(built, number) as built,
            max_by(published, number) as published,
            min(recorded_at) filter (where number > up_to_date) as behind_since,
            max_by(num_pending, number) as pending,
            max_by(details.held, number) as held
        from judged
        group by domain
        order by domain
        """,
        JOURNAL,
    )


def _marts(spark: SparkSession) -> list[dict[str, Any]]:
    return _records(
        spark,
        """
        with present as (
            select
                domain,
                max_by(published, number) as load_id,
                max_by(from_json(state, 'gold map<string, bigint>').gold, number) as gold
            from audit.domains
            group by domain
        )

        select
            mart,
            load_id,
            (
                select min(recorded_at)
                from audit.domains as steps
                where steps.domain = present.domain and steps.published = present.load_id
            ) as published_at
        from present
        lateral view explode(map_keys(gold)) as mart
        order by mart
        """,
        JOURNAL,
    )


def _by_source(spark: SparkSession, sql: str, table: str) -> dict[str, dict[str, Any]]:
    return {record["source"]: record for record in _records(spark, sql, table)}


def _records(spark: SparkSession, sql: str, table: str) -> list[dict[str, Any]]:
    """The rows of a question to a table that the first build may not have made yet."""
    if not spark.catalog.tableExists(table):
        return []
    columns, rows = ask(spark, sql)
    return [dict(zip(columns, row, strict=True)) for row in rows]
