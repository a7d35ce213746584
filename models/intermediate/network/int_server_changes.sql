{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['server_id', 'location', 'capacity_bps', 'valid_from'],
    skip_matched_step=true,
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_telecom__servers')) }}
    where reject_reason is null
)

select distinct
    server_id,
    location,
    capacity_bps,
    valid_from,
    {{ technical_columns() }}
from arrivals
