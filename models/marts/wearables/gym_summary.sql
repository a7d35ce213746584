{{ config(unique_key=['gym', 'mac_address', 'date']) }}

{% set query %}
    select gym, mac_address, {{ report_date('login_at') }} as date
    from {{ arrivals(ref('int_gym_visits_matched')) }}
{% endset %}
{% do touch(keys=['gym', 'mac_address', 'date'], query=query) %}

with

dated as (
    select
        *,
        {{ report_date('login_at') }} as date
    from {{ ref('int_gym_visits_matched') }}
    where not _is_deleted
),

matched as (
    select * from {{ only_touched('dated') }}
),

visits as (
    select distinct
        gym,
        mac_address,
        date,
        login_at,
        logout_at,
        status,
        user_id
    from matched
),

time_in_gym as (
    select
        *,
        if(
            status = 'closed',
            {{ uncovered_micros(
                'login_at', 'logout_at', ['gym', 'mac_address', 'date', 'status']) }},
            null
        ) as gym_micros
    from visits
),

time_exercising as (
    select
        *,
        {{ uncovered_micros(
            'exercise_started_at', 'exercise_ended_at', ['gym', 'mac_address', 'date']
        ) }} as exercise_micros
    from matched
    where workout_id is not null
),

exercises as (
    select
        gym,
        mac_address,
        date,
        sum(exercise_micros) as exercise_micros,
        count(distinct user_id, workout_id, session_id) as workouts
    from time_exercising
    group by gym, mac_address, date
),

stays as (
    select
        gym,
        mac_address,
        date,
        sum(gym_micros) as gym_micros,
        max_by(user_id, login_at) as user_id,
        count(*) as visits,
        count_if(status = 'open') as open_visits
    from time_in_gym
    group by gym, mac_address, date
)

select
    stays.gym,
    stays.mac_address,
    stays.date,
    {{ minutes_of('stays.gym_micros') }} as minutes_in_gym,
    if(
        stays.gym_micros is null,
        null,
        {{ minutes_of('coalesce(exercises.exercise_micros, 0)') }}
    ) as minutes_exercising,
    stays.user_id,
    stays.visits,
    stays.open_visits,
    coalesce(exercises.workouts, 0) as workouts
from stays
left join exercises
    on
        stays.gym = exercises.gym
        and stays.mac_address = exercises.mac_address
        and stays.date = exercises.date
