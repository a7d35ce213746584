{#-
  The minutes of a session have all of its valid readings, none lies beyond its end, and their extremes are its own.
-#}
with

summary as (
    select * from {{ ref('workout_bpm_summary') }}
),

curve as (
    select
        user_id,
        workout_id,
        session_id,
        sum(num_readings) as num_readings,
        min(min_bpm) as min_bpm,
        max(max_bpm) as max_bpm,
        min(minute) as first_minute,
        max(minute) as last_minute
    from {{ ref('workout_bpm_curve') }}
    group by user_id, workout_id, session_id
)

select
    summary.*,
    curve.num_readings as num_of_minutes
from summary
full outer join curve
    on
        summary.user_id = curve.user_id
        and summary.workout_id = curve.workout_id
        and summary.session_id = curve.session_id
where
    coalesce(summary.num_readings, 0) <> coalesce(curve.num_readings, 0)
    or not summary.min_bpm <=> curve.min_bpm
    or not summary.max_bpm <=> curve.max_bpm
    or curve.first_minute < 1
    or unix_micros(summary.started_at) + (curve.last_minute - 1) * 60000000
    >= unix_micros(summary.ended_at)
