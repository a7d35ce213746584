{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['device_id', 'reading_at'],
    partition_by=['reading_date'],
    meta={'layout': 'reading_date', 'range': 'reading_at'},
    matched_condition="
        (source.is_valid and not target.is_valid)
        or (
            source.is_valid = target.is_valid
            and source.bpm is not null
            and (target.bpm is null or source.bpm > target.bpm)
        )
    ",
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_sbit__heart_rates')) }}
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
    {{ technical_columns() }}
from deduplicated
