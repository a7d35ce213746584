{{ config(unique_key=['user_id', 'workout_id', 'session_id']) }}

{% set query %}
    select user_id, workout_id, session_id from {{ arrivals(ref('int_workouts')) }}
    union all
    select wearings.user_id, wearings.workout_id, wearings.session_id
    from {{ arrivals(ref('int_readings')) }} as readings
    inner join {{ ref('int_workout_wearings') }} as wearings
        on
            readings.device_id = wearings.device_id
            and readings.reading_date = wearings.reading_date
            and readings.reading_at > wearings.started_at
            and readings.reading_at <= wearings.ended_at
            and readings.reading_at >= wearings.owned_from
            and readings.reading_at < wearings.owned_to
    union all
    select workouts.user_id, workouts.workout_id, workouts.session_id
    from {{ arrivals(ref('int_device_ownerships')) }} as ownerships
    inner join {{ ref('int_workouts') }} as workouts
        on
            ownerships.user_id = workouts.user_id
            and workouts.started_at < ownerships.valid_to
            and workouts.ended_at >= ownerships.valid_from
{% endset %}
{% do touch(keys=['user_id', 'workout_id', 'session_id'], query=query) %}

with

workouts as (
    select * from {{ only_touched(ref('int_workouts')) }}
    where status = 'ended' and not _is_deleted
),

wearings as (
    select * from {{ only_touched(ref('int_workout_wearings')) }}
),

readings as (
    select * from {{ ref('int_readings') }}
    {%- if is_load_by_load() %}
    where
        reading_date in (
            {{ literals('select reading_date from ' ~ only_touched(ref('int_workout_wearings'))) }}
        )
    {%- endif %}
),

measured as (
    select
        wearings.user_id,
        wearings.workout_id,
        wearings.session_id,
        count_if(readings.is_valid) as num_readings,
        count_if(not readings.is_valid) as num_invalid,
        min(if(readings.is_valid, readings.bpm, null)) as min_bpm,
        max(if(readings.is_valid, readings.bpm, null)) as max_bpm,
        -- A sum of decimals is the same in every order.
        sum(if(readings.is_valid, cast(readings.bpm as decimal(18, 15)), null)) as sum_bpm
    from wearings
    inner join readings
        on
            wearings.device_id = readings.device_id
            and wearings.reading_date = readings.reading_date
            and wearings.started_at < readings.reading_at
            and wearings.ended_at >= readings.reading_at
            and wearings.owned_from <= readings.reading_at
            and wearings.owned_to > readings.reading_at
    group by wearings.user_id, wearings.workout_id, wearings.session_id
)

select
    workouts.user_id,
    workouts.workout_id,
    workouts.session_id,
    workouts.started_at,
    workouts.ended_at,
    coalesce(measured.num_readings, 0) as num_readings,
    coalesce(measured.num_invalid, 0) as num_invalid,
    measured.min_bpm,
    cast(
        measured.sum_bpm / cast(measured.num_readings as decimal(10, 0)) as double
    ) as avg_bpm,
    measured.max_bpm,
    {{ technical_columns() }}
from workouts
left join measured
    on
        workouts.user_id = measured.user_id
        and workouts.workout_id = measured.workout_id
        and workouts.session_id = measured.session_id
