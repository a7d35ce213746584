"""The wearables' full refresh in DuckDB: what the lakehouse's throughput is measured against.

    files --> bronze (text) --> staging (typed, judged) --> silver --> gold
              Parquet           in memory                   Parquet    Parquet

    python -m benchmarks.duckdb_pipeline FOLDER --to DIR

It reads the same files, judges every row by the rules of the staging models (the project's default
vars) and makes the rows of the marts. Like the lakehouse it leaves Parquet with zstd behind, of
bronze, silver and gold. The gate, loads, increments and tests are not in it. Times are UTC.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa

from generators.wearables.tables import CSV_COLUMNS, GYM_LOGINS, KAFKA_MULTIPLEX, REGISTERED_USERS
from lakehouse.settings import PROJECT
from tests.oracle.wearables.marts import ADDRESS_ATTRIBUTES, ATTRIBUTES

PROFILE = ("user_id", "update_type", "timestamp", *ATTRIBUTES, "address")
WORKOUT_EVENT = ("user_id", "workout_id", "session_id", "action", "timestamp")

MACROS = r"""
create macro trimmed(x) as trim(x, e' \t\n\r\x0b\x0c');
create macro integer_of(x) as
    case when regexp_full_match(x, '[\s\v]*[+-]?[0-9]+[\s\v]*') then try_cast(x as bigint) end;
create macro mac_address_of(x) as
    case when regexp_full_match(lower(trimmed(x)), '([0-9a-f]{2}:){5}[0-9a-f]{2}')
        then lower(trimmed(x)) end;
-- To DuckDB, 1_000 is a number too.
create macro number_of(x) as case when not contains(x, '_') then x end;
create macro finite_double_of(x) as
    case when isfinite(try_cast(number_of(x) as double)) then try_cast(x as double) end;
-- Whole units and the rest apart, so that 64 bits hold every step; wider decimals cost minutes.
create macro micros_of(x, unit) as
    cast(trunc(x) as bigint) * unit + cast((x % 1) * unit as bigint);
create macro epoch_to_timestamp(x) as
    case
        when try_cast(number_of(x) as decimal(18, 6)) between 0 and 99999999999.999999
            then make_timestamp(micros_of(try_cast(x as decimal(18, 6)), 1000000))
        when try_cast(number_of(x) as decimal(18, 3)) between 100000000000 and 99999999999999.999
            then make_timestamp(micros_of(try_cast(x as decimal(18, 3)), 1000))
        when regexp_matches(trimmed(x), '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}')
            then cast(try_cast(trimmed(x) as timestamptz) as timestamp)
    end;
create macro time_fault(name, happened_at, ingested_at) as
    case
        when happened_at is null then name || ' is unreadable'
        when happened_at < timestamp '2000-01-01' then name || ' is before 2000-01-01'
        when happened_at > ingested_at + interval 1 hour then name || ' is in the future'
    end;
create macro missing(x, reason) as if(x is null, reason, null);
create macro not_whole(name, x) as missing(x, name || ' is not a whole number');
create macro minutes_of(micros) as
    cast((200 * micros + 60000000) // 120000000 as decimal(16, 0)) * cast(0.01 as decimal(2, 2));
-- The quotient to 25 decimals, in whole numbers: DuckDB divides decimals as doubles.
create macro mean_of(total, num) as
    cast(
        (cast(replace(cast(total as varchar), '.', '') as hugeint) * 10000000000 + num // 2) // num
        || 'e-25' as double
    );
create macro completed_years(born_on, on_date) as
    year(on_date) - year(born_on)
    - if((month(on_date), day(on_date)) < (month(born_on), day(born_on)), 1, 0);
create macro beginning_of_time() as timestamp '1900-01-01';
create macro end_of_time() as timestamp '9999-12-31';
"""


def _csv_reader(name: str, columns: tuple[str, ...], files: list[str]) -> str:
    """Reads CSV files; lines with a wrong number of fields go to the tables of errors."""
    return f"""
        select * from read_csv(
            {files}, columns = {dict.fromkeys(columns, "varchar")}, header = true,
            auto_detect = false, delim = ',', quote = '"', escape = '"',
            filename = '_source_file', store_rejects = true,
            rejects_table = 'errors_{name}', rejects_scan = 'scans_{name}'
        )
    """


def _csv_bronze(name: str) -> str:
    return f"""
        select *, null as _raw, now()::timestamp as _ingested_at from delivered_{name}
        union all by name
        select distinct on (file_id, line)
            csv_line as _raw, file_path as _source_file, now()::timestamp as _ingested_at
        from errors_{name} inner join scans_{name} using (scan_id, file_id)
        where trimmed(csv_line) <> ''
    """


def json_bronze(files: list[str]) -> str:
    """Reads JSON lines; `_raw` keeps every line that the columns do not hold all of."""
    names = ("key", "value", "topic", "partition", "offset", "timestamp")
    num_present = " + ".join(f"if(fields.{name} is null, 0, 1)" for name in names)
    return f"""
        with lines as (
            select * from read_csv(
                {files}, columns = {{'line': 'varchar'}}, header = false, auto_detect = false,
                delim = '\x01', quote = '', escape = '', filename = '_source_file',
                max_line_size = 16777216, buffer_size = 67108864
            )
        ), parsed as (
            select *, try(json_keys(line)) as keys, {fields_of("line", *names)} as fields
            from lines where line is not null
        )
        select
            fields.*, if(len(keys) = {num_present}, null, line) as _raw, _source_file,
            now()::timestamp as _ingested_at
        from parsed where keys is not null or trimmed(line) <> ''
    """


def fields_of(column: str, *names: str) -> str:
    """A struct of a JSON object's fields as text; null where there is no JSON."""
    nested = {"address": dict.fromkeys(ADDRESS_ATTRIBUTES, "VARCHAR")}
    shape = {name: nested.get(name, "VARCHAR") for name in names}
    return f"try(json_transform({column}, '{json.dumps(shape)}'))"


def _messages(topic: str, *names: str) -> str:
    """The messages of a topic with their values' fields and the text that a reject shows."""
    return f"""
        select
            key, value, timestamp as message_time, {fields_of("value", *names)} as fields,
            coalesce(value, _raw, key) as raw_text, _source_file, _ingested_at
        from kafka_multiplex where topic = '{topic}'
    """


def _line(columns: tuple[str, ...]) -> str:
    return "concat(" + ", ',', ".join(columns) + ")"


# A later expression of a select may use an earlier one's name.
STAGING = {
    "registrations": f"""
        select
            *,
            coalesce(
                if(_raw is null, null, 'the line does not have the declared columns'),
                not_whole('user_id', user_id), not_whole('device_id', device_id),
                missing(mac_address, 'mac_address is not a mac address'),
                time_fault('registration_timestamp', registered_at, _ingested_at)
            ) as reject_reason,
            null as field_reject_reason
        from (
            select
                * replace (
                    integer_of(user_id) as user_id, integer_of(device_id) as device_id,
                    mac_address_of(mac_address) as mac_address
                ),
                epoch_to_timestamp(registration_timestamp) as registered_at,
                coalesce(_raw, {_line(CSV_COLUMNS[REGISTERED_USERS])}) as raw_text
            from registered_users
        )
    """,
    "gym_logins": f"""
        select
            gym, mac_address, login_at, raw_text, _source_file,
            time_fault('logout', left_at, _ingested_at) as logout_fault,
            if(logout_fault is null, left_at, null) as logout_at,
            coalesce(
                if(_raw is null, null, 'the line does not have the declared columns'),
                not_whole('gym', gym), missing(mac_address, 'mac_address is not a mac address'),
                time_fault('login', login_at, _ingested_at)
            ) as reject_reason,
            if(trimmed(logout) <> '', logout_fault, null) as field_reject_reason
        from (
            select
                * replace (integer_of(gym) as gym, mac_address_of(mac_address) as mac_address),
                epoch_to_timestamp(login) as login_at,
                epoch_to_timestamp(logout) as left_at,
                coalesce(_raw, {_line(CSV_COLUMNS[GYM_LOGINS])}) as raw_text
            from gym_logins
        )
    """,
    "unknown": """
        select
            case
                when topic is not null then 'the topic is unknown'
                when try(json_type(_raw)) = 'OBJECT' then 'the topic is missing'
                else 'the line is not a JSON object'
            end as reject_reason,
            null as field_reject_reason, coalesce(value, _raw, key) as raw_text, _source_file
        from kafka_multiplex
        where topic is null or topic not in ('user_info', 'workout', 'bpm')
    """,
    "profile_changes": f"""
        select
            integer_of(if(value is null, key, fields.user_id)) as user_id,
            if(value is null, 'delete', lower(trimmed(fields.update_type))) as change_type,
            epoch_to_timestamp(if(value is null, message_time, fields.timestamp)) as changed_at,
            fields.dob, fields.sex, fields.gender, fields.first_name, fields.last_name,
            fields.address.street_address, fields.address.city, fields.address.state,
            fields.address.zip, raw_text, _source_file,
            case
                when regexp_full_match(fields.dob, '[0-9]{{2}}/[0-9]{{2}}/[0-9]{{4}}')
                    then cast(try_strptime(fields.dob, '%m/%d/%Y') as date)
            end as born_on,
            coalesce(
                not_whole('user_id', user_id),
                if(change_type in ('new', 'update', 'delete'), null, 'the update_type is unknown'),
                time_fault('timestamp', changed_at, _ingested_at)
            ) as reject_reason,
            if(fields.dob is null, null, missing(born_on, 'dob is not a date as MM/dd/yyyy'))
                as field_reject_reason
        from ({_messages("user_info", *PROFILE)})
    """,
    "workout_events": f"""
        select
            integer_of(fields.user_id) as user_id, integer_of(fields.workout_id) as workout_id,
            integer_of(fields.session_id) as session_id, lower(trimmed(fields.action)) as action,
            epoch_to_timestamp(fields.timestamp) as event_at,
            coalesce(
                not_whole('user_id', user_id), not_whole('workout_id', workout_id),
                not_whole('session_id', session_id),
                if(action in ('start', 'stop'), null, 'the action is unknown'),
                time_fault('timestamp', event_at, _ingested_at)
            ) as reject_reason,
            null as field_reject_reason, raw_text, _source_file
        from ({_messages("workout", *WORKOUT_EVENT)})
    """,
    "heart_rates": f"""
        select
            * exclude (raw_text),
            if(reject_reason is null and field_reject_reason is null, null, raw_text) as raw_text
        from (
            select
                integer_of(fields.device_id) as device_id,
                epoch_to_timestamp(fields.time) as reading_at,
                finite_double_of(fields.heartrate) as bpm,
                coalesce(bpm > 0 and bpm <= 300, false) as is_valid,
                coalesce(
                    not_whole('device_id', device_id), time_fault('time', reading_at, _ingested_at)
                ) as reject_reason,
                if(fields.heartrate is null, null, missing(bpm, 'heartrate is not a number'))
                    as field_reject_reason,
                raw_text, _source_file
            from ({_messages("bpm", "device_id", "time", "heartrate")})
        )
    """,
}


def _rejects(entity: str) -> str:
    """Refused rows, and refused fields of accepted rows."""
    columns = "as reason, raw_text, _source_file"
    return f"""
        select '{entity}' as entity, 'row' as level, reject_reason {columns}
        from stg_{entity} where reject_reason is not null
        union all
        select '{entity}' as entity, 'field' as level, field_reject_reason {columns}
        from stg_{entity} where reject_reason is null and field_reject_reason is not null
    """


def _accepted(entity: str, columns: str) -> str:
    return f"select distinct {columns} from stg_{entity} where reject_reason is null"


def _ownerships(key: str) -> str:
    """Whose a thing was and when; before its first registration the first owner's."""
    return f"""
        select
            {key}, user_id,
            if(row_number() over versions = 1, beginning_of_time(), registered_at) as valid_from,
            coalesce(lead(registered_at) over versions, end_of_time()) as valid_to
        from (
            select {key}, registered_at, min(user_id) as user_id
            from int_registrations group by {key}, registered_at
        )
        window versions as (partition by {key} order by registered_at)
    """


def _uncovered(start: str, end: str, group: str) -> str:
    """The microseconds that an interval adds to those before it in its group."""
    return f"""
        greatest(
            0,
            epoch_us({end}) - greatest(
                epoch_us({start}),
                max(epoch_us({end})) over (
                    partition by {group} order by {start}, {end}
                    rows between unbounded preceding and 1 preceding
                )
            )
        )
    """


_EXERCISE = ("exercise_started_at", "exercise_ended_at")
_PAYLOAD = ", ".join(
    f"coalesce(length({name}) || ':' || {name}, '-')" for name in ATTRIBUTES + ADDRESS_ATTRIBUTES
)

SILVER = {
    "int_rejects": " union all ".join(map(_rejects, STAGING)),
    "int_registrations": _accepted(
        "registrations", "user_id, device_id, mac_address, registered_at"
    ),
    "int_gym_logins": _accepted("gym_logins", "gym, mac_address, login_at, logout_at"),
    "int_workout_events": _accepted(
        "workout_events", "user_id, workout_id, session_id, action, event_at"
    ),
    "int_profile_changes": _accepted(
        "profile_changes",
        "* exclude (dob, raw_text, _source_file, reject_reason, field_reject_reason), "
        f"sha256(concat_ws(',', {_PAYLOAD})) as payload_sha256",
    ),
    "int_readings": """
        select
            device_id, reading_at, cast(reading_at as date) as reading_date,
            coalesce(
                max(bpm) filter (where is_valid), max(bpm) filter (where not is_valid)
            ) as bpm,
            bool_or(is_valid) as is_valid
        from stg_heart_rates where reject_reason is null
        group by device_id, reading_at
    """,
    "int_device_ownerships": _ownerships("device_id"),
    "int_mac_ownerships": _ownerships("mac_address"),
    "user_profiles": """
        select
            *,
            if(row_number() over versions = 1, beginning_of_time(), changed_at) as applies_from,
            coalesce(lead(changed_at) over versions, end_of_time()) as valid_to,
            coalesce(
                last_value(
                    case when change_type <> 'update' then change_type = 'delete' end ignore nulls
                ) over versions,
                false
            ) as is_deleted
        from (
            from int_profile_changes
            qualify row_number() over (
                partition by user_id, changed_at
                order by array_position(['delete', 'update', 'new'], change_type), payload_sha256
            ) = 1
        )
        window versions as (partition by user_id order by changed_at)
    """,
    "int_workouts": """
        select
            user_id, workout_id, session_id,
            min(event_at) filter (where action = 'start') as started_at,
            max(event_at) filter (where action = 'stop') as stopped_at,
            if(stopped_at > started_at, stopped_at, null) as ended_at
        from int_workout_events group by user_id, workout_id, session_id
    """,
    "int_workout_minutes": """
        with wearings as (
            select
                *,
                unnest(
                    generate_series(
                        cast(greatest(started_at, valid_from) as date),
                        cast(least(ended_at, valid_to) as date),
                        interval 1 day
                    )
                )::date as reading_date
            from int_workouts inner join int_device_ownerships using (user_id)
            where ended_at is not null and started_at < valid_to and ended_at >= valid_from
        )
        select
            user_id, workout_id, session_id,
            (epoch_us(reading_at) - epoch_us(started_at) - 1) // 60000000 + 1 as minute,
            count(*) filter (where is_valid) as num_readings,
            count(*) filter (where not is_valid) as num_invalid,
            min(bpm) filter (where is_valid) as min_bpm,
            max(bpm) filter (where is_valid) as max_bpm,
            -- By way of text: the decimal that the double is written as.
            sum(cast(cast(bpm as varchar) as decimal(18, 15))) filter (where is_valid) as total
        from int_readings inner join wearings using (device_id, reading_date)
        where
            reading_at > started_at and reading_at <= ended_at
            and reading_at >= valid_from and reading_at < valid_to
        group by user_id, workout_id, session_id, minute
    """,
    "int_workouts_measured": """
        with measured as (
            select
                user_id, workout_id, session_id,
                cast(sum(num_readings) as bigint) as num_readings,
                cast(sum(num_invalid) as bigint) as num_invalid,
                min(min_bpm) as min_bpm, max(max_bpm) as max_bpm, sum(total) as total
            from int_workout_minutes group by user_id, workout_id, session_id
        )
        select
            * exclude (stopped_at, num_readings, num_invalid, total),
            coalesce(num_readings, 0) as num_readings, coalesce(num_invalid, 0) as num_invalid,
            mean_of(total, measured.num_readings) as avg_bpm
        from int_workouts left join measured using (user_id, workout_id, session_id)
        where ended_at is not null
    """,
    "int_gym_visits_matched": """
        with visits as (
            select
                gym, mac_address, login_at, max(logout_at) as logout_at,
                case
                    when max(logout_at) is null then 'open'
                    when max(logout_at) < login_at then 'incomplete'
                    else 'closed'
                end as status
            from int_gym_logins group by gym, mac_address, login_at
        ), owned as (
            select visits.*, user_id
            from visits left join int_mac_ownerships as ownerships
                on
                    visits.mac_address = ownerships.mac_address
                    and login_at >= valid_from and login_at < valid_to
        )
        select
            owned.*, workout_id, session_id,
            if(workout_id is null, null, greatest(started_at, login_at)) as exercise_started_at,
            if(workout_id is null, null, least(ended_at, logout_at)) as exercise_ended_at
        from owned left join int_workouts as workouts
            on
                owned.user_id = workouts.user_id and owned.status = 'closed'
                and login_at < ended_at and logout_at > started_at
    """,
}

GOLD = {
    "workout_bpm_summary": """
        select
            workouts.user_id, cast(started_at as date) as date, workout_id, session_id,
            if(profiles.user_id is null, null, coalesce(age_band, 'unknown')) as age,
            sex, city, state, min_bpm, avg_bpm, max_bpm, gender, num_readings, num_invalid,
            started_at, ended_at
        from int_workouts_measured as workouts
        left join user_profiles as profiles
            on
                workouts.user_id = profiles.user_id and not is_deleted
                and started_at >= applies_from and started_at < valid_to
        left join age_bands
            on
                completed_years(born_on, cast(started_at as date)) >= from_years
                and completed_years(born_on, cast(started_at as date)) < to_years
    """,
    "workout_bpm_curve": """
        select
            user_id, workout_id, session_id, minute, num_readings, min_bpm,
            mean_of(total, num_readings) as avg_bpm, max_bpm
        from int_workout_minutes where num_readings > 0
    """,
    "gym_summary": f"""
        with matched as (
            select *, cast(login_at as date) as date from int_gym_visits_matched
        ), visits as (
            select distinct gym, mac_address, date, login_at, logout_at, status, user_id
            from matched
        ), stays as (
            select
                gym, mac_address, date, sum(micros) filter (where status = 'closed') as gym_micros,
                arg_max(user_id, login_at) as user_id, count(*) as visits,
                count(*) filter (where status = 'open') as open_visits
            from (
                select *, {_uncovered("login_at", "logout_at", "gym, mac_address, date, status")}
                    as micros
                from visits
            )
            group by gym, mac_address, date
        ), exercises as (
            select
                gym, mac_address, date, sum(micros) as exercise_micros,
                count(distinct (user_id, workout_id, session_id)) as workouts
            from (
                select *, {_uncovered(*_EXERCISE, "gym, mac_address, date")} as micros
                from matched where workout_id is not null
            )
            group by gym, mac_address, date
        )
        select
            gym, mac_address, date, minutes_of(gym_micros) as minutes_in_gym,
            case
                when gym_micros is not null then minutes_of(coalesce(exercise_micros, 0))
            end as minutes_exercising,
            user_id, visits, open_visits, coalesce(workouts, 0) as workouts
        from stays left join exercises using (gym, mac_address, date)
    """,
    "gym_visits": f"""
        select
            gym, mac_address, cast(login_at as date) as date, login_at, logout_at,
            case
                when status = 'closed' then minutes_of(epoch_us(logout_at) - epoch_us(login_at))
            end as minutes_in_gym,
            case
                when status = 'closed'
                    then minutes_of(coalesce(sum(micros) filter (where workout_id is not null), 0))
            end as minutes_exercising,
            user_id, status, count(workout_id) as workouts
        from (
            select *, {_uncovered(*_EXERCISE, "gym, mac_address, login_at")} as micros
            from int_gym_visits_matched
        )
        group by gym, mac_address, login_at, logout_at, status, user_id
    """,
}


def run(folder: Path, seeds: Path, to: Path) -> dict[str, pa.Table]:
    """Runs the pipeline from files to gold.

    Args:
        folder: Holds the delivered files, `<table>/**`, of each table one at least.
        seeds: The project's folder of seeds.
        to: Gets `<layer>/<table>.parquet` of bronze, silver and gold.

    Returns:
        The rows of each mart, with the mart's columns in their order.
    """
    files = {
        table: sorted(str(path) for path in (folder / table).rglob("*") if path.is_file())
        for table in (*CSV_COLUMNS, KAFKA_MULTIPLEX)
    }
    db = duckdb.connect()
    db.execute("set timezone = 'UTC'; set preserve_insertion_order = false")
    db.execute(MACROS)
    db.execute(f"create table age_bands as from '{seeds / 'wearables' / 'age_bands.csv'}'")
    bronze = {"kafka_multiplex": json_bronze(files[KAFKA_MULTIPLEX])}
    for table, columns in CSV_COLUMNS.items():
        name = table.removeprefix("sbit.")
        db.execute(f"create table delivered_{name} as {_csv_reader(name, columns, files[table])}")
        bronze[name] = _csv_bronze(name)
    save(db, to / "bronze", bronze)
    for name, sql in STAGING.items():
        db.execute(f"create table stg_{name} as {sql}")
    save(db, to / "silver", SILVER)
    save(db, to / "gold", GOLD)
    return {mart: db.table(mart).to_arrow_table() for mart in GOLD}


def save(db: duckdb.DuckDBPyConnection, folder: Path, tables: dict[str, str]) -> None:
    """Writes the rows of statements as Parquet, each of which the later ones may read by name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, sql in tables.items():
        path = folder / f"{name}.parquet"
        db.execute(f"copy ({sql}) to '{path}' (format parquet, compression zstd)")
        db.execute(f"create view {name} as from '{path}'")


def main(run: Callable[[Path, Path, Path], dict[str, pa.Table]], what: str | None) -> None:
    """Runs a pipeline and prints how long it took and how many rows each mart has."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("folder", type=Path, help="The delivered files.")
    parser.add_argument("--to", type=Path, required=True, help="A folder for the tables.")
    options = parser.parse_args()
    wall, cpu = time.perf_counter(), time.process_time()
    marts = run(options.folder, PROJECT / "seeds", options.to)
    result = {
        "wall_s": round(time.perf_counter() - wall, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        **{mart: rows.num_rows for mart, rows in marts.items()},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(run, __doc__)
