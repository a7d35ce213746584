{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['gym', 'mac_address', 'action', 'event_at'],
    skip_matched_step=true,
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_sbit__gym_events')) }}
    where reject_reason is null
)

select distinct
    gym,
    mac_address,
    action,
    event_at,
    {{ technical_columns() }}
from arrivals
