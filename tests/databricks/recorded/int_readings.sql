-- the first build

create or replace table `main_test`.`silver`.`int_readings`
    using delta
      cluster by (reading_date, reading_at)
      as
      with
arrivals as (
    select * from (
        select *
        from `main_test`.`silver`.`stg_sbit__heart_rates`
        where
            _load_id <= 1
    )
    where reject_reason is null
),
-- Hardly any reading comes twice: to aggregate before the exchange would be work for nothing.
distributed as (
    select * from arrivals
    distribute by device_id, reading_at
),
-- Two values for one device and moment: a valid one before an invalid one, then the higher.
deduplicated as (
    select
        device_id,
        reading_at,
        max(if(is_valid, bpm, null)) as valid_bpm,
        max(if(is_valid, null, bpm)) as invalid_bpm
    from distributed
    group by device_id, reading_at
)
select
    device_id,
    reading_at,
    cast(reading_at as date) as reading_date,
    coalesce(valid_bpm, invalid_bpm) as bpm,
    valid_bpm is not null as is_valid,
    cast(1 as bigint) as _load_id,
    false as _is_deleted
from deduplicated;

-- a later build

create or replace temporary view `int_readings__dbt_tmp` as
      with
arrivals as (
    select * from (
        select *
        from `main_test`.`silver`.`stg_sbit__heart_rates`
        where
            _load_id <= 2
            and _load_id > 1
    )
    where reject_reason is null
),
-- Hardly any reading comes twice: to aggregate before the exchange would be work for nothing.
distributed as (
    select * from arrivals
    distribute by device_id, reading_at
),
-- Two values for one device and moment: a valid one before an invalid one, then the higher.
deduplicated as (
    select
        device_id,
        reading_at,
        max(if(is_valid, bpm, null)) as valid_bpm,
        max(if(is_valid, null, bpm)) as invalid_bpm
    from distributed
    group by device_id, reading_at
)
select
    device_id,
    reading_at,
    cast(reading_at as date) as reading_date,
    coalesce(valid_bpm, invalid_bpm) as bpm,
    valid_bpm is not null as is_valid,
    cast(2 as bigint) as _load_id,
    false as _is_deleted
from deduplicated;

select
            case
        when reading_date is null then concat('cast(null as ', typeof(reading_date), ')')
        else concat(
            'cast(\'',
            replace(replace(cast(reading_date as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof(reading_date), ')'
        )
    end,
            case
        when min(reading_at) is null then concat('cast(null as ', typeof(min(reading_at)), ')')
        else concat(
            'cast(\'',
            replace(replace(cast(min(reading_at) as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof(min(reading_at)), ')'
        )
    end,
            case
        when max(reading_at) is null then concat('cast(null as ', typeof(max(reading_at)), ')')
        else concat(
            'cast(\'',
            replace(replace(cast(max(reading_at) as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof(max(reading_at)), ')'
        )
    end
        from `int_readings__dbt_tmp`
        group by reading_date
        limit 1001;

merge into `main_test`.`silver`.`int_readings` as target
    using `int_readings__dbt_tmp` as source
    on
        source.device_id <=> target.device_id and source.reading_at <=> target.reading_at
        and (
        (
            target.reading_date = cast('2026-03-02' as date) and
            target.reading_at >= cast('2026-03-02 10:00:00' as timestamp) and target.reading_at <= cast('2026-03-02 10:00:00' as timestamp)
        )
    )
    when matched
        and (
        (source.is_valid and not target.is_valid)
        or (
            source.is_valid = target.is_valid
            and source.bpm is not null
            and (target.bpm is null or source.bpm > target.bpm)
        )
    )
        then update set
            target.device_id = source.device_id, target.reading_at = source.reading_at, target.reading_date = source.reading_date, target.bpm = source.bpm, target.is_valid = source.is_valid, target._load_id = source._load_id, target._is_deleted = source._is_deleted
    when not matched  then insert
        (device_id, reading_at, reading_date, bpm, is_valid, _load_id, _is_deleted)
        values (source.device_id, source.reading_at, source.reading_date, source.bpm, source.is_valid, source._load_id, source._is_deleted);
