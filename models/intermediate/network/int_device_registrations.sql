{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['device_id', 'customer_id', 'device_type', 'ipv4', 'registered_at'],
    skip_matched_step=true,
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_telecom__devices')) }}
    where reject_reason is null
)

select distinct
    device_id,
    customer_id,
    device_type,
    ipv4,
    registered_at,
    {{ technical_columns() }}
from arrivals
