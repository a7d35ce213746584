{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['user_id', 'device_id', 'mac_address', 'registered_at'],
    skip_matched_step=true,
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_sbit__registrations')) }}
    where reject_reason is null
)

select distinct
    user_id,
    device_id,
    mac_address,
    registered_at,
    {{ technical_columns() }}
from arrivals
