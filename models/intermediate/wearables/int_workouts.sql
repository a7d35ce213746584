{{ config(unique_key=['user_id', 'workout_id', 'session_id']) }}

{% set query %}
    select user_id, workout_id, session_id from {{ arrivals(ref('int_workout_events')) }}
{% endset %}
{% do touch(keys=['user_id', 'workout_id', 'session_id'], query=query) %}

with

events as (
    select * from {{ only_touched(ref('int_workout_events')) }}
),

bounded as (
    select
        user_id,
        workout_id,
        session_id,
        min(event_at) filter (where action = 'start') as started_at,
        max(event_at) filter (where action = 'stop') as last_stopped_at
    from events
    group by user_id, workout_id, session_id
),

paired as (
    select
        user_id,
        workout_id,
        session_id,
        started_at,
        if(last_stopped_at > started_at, last_stopped_at, null) as ended_at,
        case
            when last_stopped_at > started_at then 'ended'
            when last_stopped_at is null then 'open'
            else 'incomplete'
        end as status
    from bounded
)

select
    *,
    {{ technical_columns() }}
from paired
