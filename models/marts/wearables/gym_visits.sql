{{ config(unique_key=['gym', 'mac_address', 'login_at']) }}

{% set query %}
    select gym, mac_address, login_at from {{ arrivals(ref('int_gym_visits_matched')) }}
{% endset %}
{% do touch(keys=['gym', 'mac_address', 'login_at'], query=query) %}

with

matched as (
    select * from {{ only_touched(ref('int_gym_visits_matched')) }}
    where not _is_deleted
),

uncovered as (
    select
        *,
        {{ uncovered_micros(
            'exercise_started_at', 'exercise_ended_at', ['gym', 'mac_address', 'login_at']
        ) }} as exercise_micros
    from matched
),

visits as (
    select
        gym,
        mac_address,
        login_at,
        logout_at,
        status,
        user_id,
        count(workout_id) as workouts,
        coalesce(sum(exercise_micros), 0) as exercise_micros,
        unix_micros(logout_at) - unix_micros(login_at) as gym_micros
    from uncovered
    group by gym, mac_address, login_at, logout_at, status, user_id
)

select
    gym,
    mac_address,
    {{ report_date('login_at') }} as date,
    login_at,
    logout_at,
    if(status = 'closed', {{ minutes_of('gym_micros') }}, null) as minutes_in_gym,
    if(status = 'closed', {{ minutes_of('exercise_micros') }}, null) as minutes_exercising,
    user_id,
    status,
    workouts
from visits
