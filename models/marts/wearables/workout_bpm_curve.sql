{{ config(unique_key=['user_id', 'workout_id', 'session_id', 'minute']) }}

{% set query %}
    select user_id, workout_id, session_id from {{ arrivals(ref('int_workouts_measured')) }}
{% endset %}
{% do touch(keys=['user_id', 'workout_id', 'session_id'], query=query) %}

with

workouts as (
    select * from {{ only_touched(ref('int_workouts_measured')) }}
    where not _is_deleted
),

minutes as (
    select
        user_id,
        workout_id,
        session_id,
        explode(minutes) as measured
    from workouts
)

select
    user_id,
    workout_id,
    session_id,
    measured.minute,
    measured.num_readings,
    measured.min_bpm,
    cast(
        measured.sum_bpm / cast(measured.num_readings as decimal(10, 0)) as double
    ) as avg_bpm,
    measured.max_bpm
from minutes
