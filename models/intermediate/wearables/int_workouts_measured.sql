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

readings as (
    select * from {{ ref('int_readings') }}
    {%- if is_load_by_load() %}
    where
        reading_date in (
            {{ literals('select reading_date from ' ~ only_touched(ref('int_workout_wearings'))) }}
        )
    {%- endif %}
),

-- A reading at the very end of a minute is the minute's, as one at the very end is the workout's.
worn as (
    select
        wearings.user_id,
        wearings.workout_id,
        wearings.session_id,
        (unix_micros(readings.reading_at) - unix_micros(wearings.started_at) - 1)
        div 60000000 + 1 as minute,
        readings.is_valid,
        if(readings.is_valid, readings.bpm, null) as bpm
    from {{ only_touched(ref('int_workout_wearings')) }} as wearings
    inner join readings
        on
            wearings.device_id = readings.device_id
            and wearings.reading_date = readings.reading_date
            and wearings.started_at < readings.reading_at
            and wearings.ended_at >= readings.reading_at
            and wearings.owned_from <= readings.reading_at
            and wearings.owned_to > readings.reading_at
),

by_minute as (
    select
        user_id,
        workout_id,
        session_id,
        minute,
        count_if(is_valid) as num_readings,
        count_if(not is_valid) as num_invalid,
        min(bpm) as min_bpm,
        max(bpm) as max_bpm,
        -- A sum of decimals is the same in every order.
        sum(cast(bpm as decimal(18, 15))) as sum_bpm
    from worn
    group by user_id, workout_id, session_id, minute
),

measured as (
    select
        user_id,
        workout_id,
        session_id,
        sum(num_readings) as num_readings,
        sum(num_invalid) as num_invalid,
        min(min_bpm) as min_bpm,
        max(max_bpm) as max_bpm,
        -- As narrow as that of a minute, so that the quotient has as many decimals.
        cast(sum(sum_bpm) as decimal(28, 15)) as sum_bpm,
        array_sort(
            collect_list(struct(minute, num_readings, min_bpm, max_bpm, sum_bpm))
            filter (where num_readings > 0)
        ) as minutes
    from by_minute
    group by user_id, workout_id, session_id
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
    measured.minutes,
    {{ technical_columns() }}
from workouts
left join measured
    on
        workouts.user_id = measured.user_id
        and workouts.workout_id = measured.workout_id
        and workouts.session_id = measured.session_id
