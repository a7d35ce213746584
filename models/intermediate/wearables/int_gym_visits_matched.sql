{{ config(unique_key=['gym', 'mac_address', 'login_at', 'workout_id', 'session_id']) }}

{% set query %}
    select gym, mac_address, login_at from {{ arrivals(ref('int_gym_visits')) }}
    union all
    select visits.gym, visits.mac_address, visits.login_at
    from {{ ref('int_gym_visits') }} as visits
    inner join {{ arrivals(ref('int_mac_ownerships')) }} as ownerships
        on visits.mac_address = ownerships.mac_address
    union all
    select visits.gym, visits.mac_address, visits.login_at
    from {{ arrivals(ref('int_workouts')) }} as workouts
    inner join {{ ref('int_mac_ownerships') }} as ownerships
        on workouts.user_id = ownerships.user_id
    inner join {{ ref('int_gym_visits') }} as visits
        on
            ownerships.mac_address = visits.mac_address
            and workouts.started_at < visits.logout_at
            and workouts.ended_at > visits.login_at
{% endset %}
{% do touch(keys=['gym', 'mac_address', 'login_at'], query=query) %}

with

visits as (
    select * from {{ only_touched(ref('int_gym_visits')) }}
    where not _is_deleted
),

ownerships as (
    select * from {{ ref('int_mac_ownerships') }}
    where not _is_deleted
),

workouts as (
    select * from {{ ref('int_workouts') }}
    where status = 'ended' and not _is_deleted
),

owned as (
    select
        visits.gym,
        visits.mac_address,
        visits.login_at,
        visits.logout_at,
        visits.status,
        ownerships.user_id
    from visits
    left join ownerships
        on
            visits.mac_address = ownerships.mac_address
            and visits.login_at >= ownerships.valid_from
            and visits.login_at < ownerships.valid_to
),

matched as (
    select
        owned.*,
        workouts.workout_id,
        workouts.session_id,
        greatest(workouts.started_at, owned.login_at) as exercise_started_at,
        if(
            workouts.user_id is null,
            null,
            least(workouts.ended_at, owned.logout_at)
        ) as exercise_ended_at
    from owned
    left join workouts
        on
            owned.user_id = workouts.user_id
            and owned.status = 'closed'
            and owned.login_at < workouts.ended_at
            and owned.logout_at > workouts.started_at
)

select
    gym,
    mac_address,
    login_at,
    logout_at,
    status,
    user_id,
    workout_id,
    session_id,
    if(workout_id is null, null, exercise_started_at) as exercise_started_at,
    exercise_ended_at,
    {{ technical_columns() }}
from matched
