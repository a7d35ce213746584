{{ config(unique_key=['user_id', 'workout_id', 'session_id']) }}

{% set query %}
    select user_id, workout_id, session_id from {{ arrivals(ref('int_workouts_measured')) }}
    union all
    select workouts.user_id, workouts.workout_id, workouts.session_id
    from {{ arrivals(ref('dim_users')) }} as users
    inner join {{ ref('int_workouts_measured') }} as workouts
        on
            users.user_id = workouts.user_id
            and workouts.started_at >= users.applies_from
            and workouts.started_at < users.valid_to
{% endset %}
{% do touch(keys=['user_id', 'workout_id', 'session_id'], query=query) %}

with

workouts as (
    select * from {{ only_touched(ref('int_workouts_measured')) }}
    where not _is_deleted
),

users as (
    select * from {{ ref('dim_users') }}
    where not is_deleted
),

age_bands as (
    select * from {{ ref('age_bands') }}
),

profiled as (
    select
        workouts.*,
        {{ report_date('workouts.started_at') }} as date,
        users.user_id is not null as has_profile,
        users.born_on,
        users.sex,
        users.gender,
        users.city,
        users.state
    from workouts
    left join users
        on
            workouts.user_id = users.user_id
            and workouts.started_at >= users.applies_from
            and workouts.started_at < users.valid_to
),

aged as (
    select
        *,
        -- Someone born on 29 February completes a year on 1 March of a year that has no such day.
        year(date) - year(born_on)
        - if(date_format(date, 'MMdd') < date_format(born_on, 'MMdd'), 1, 0) as years
    from profiled
)

select
    aged.user_id,
    aged.date,
    aged.workout_id,
    aged.session_id,
    if(aged.has_profile, coalesce(age_bands.age_band, 'unknown'), null) as age,
    aged.sex,
    aged.city,
    aged.state,
    aged.min_bpm,
    aged.avg_bpm,
    aged.max_bpm,
    aged.gender,
    aged.num_readings,
    aged.num_invalid,
    aged.started_at,
    aged.ended_at
from aged
left join age_bands
    on
        aged.years >= age_bands.from_years
        and aged.years < age_bands.to_years
