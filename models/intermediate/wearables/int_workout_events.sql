{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['user_id', 'workout_id', 'session_id', 'action', 'event_at'],
    skip_matched_step=true,
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_sbit__workout_events')) }}
    where reject_reason is null
)

select distinct
    user_id,
    workout_id,
    session_id,
    action,
    event_at,
    {{ technical_columns() }}
from arrivals
