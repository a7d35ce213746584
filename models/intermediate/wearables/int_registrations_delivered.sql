{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['user_id', 'device_id', 'mac_address', 'registered_at', '_pull_key', '_pull_id'],
    skip_matched_step=true,
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_sbit__registrations')) }}
    where reject_reason is null or _pull_key is not null
)

select distinct
    user_id,
    device_id,
    mac_address,
    registered_at,
    _pull_key,
    _pull_id,
    case
        when reject_reason is not null then 'refused'
        when _op = 'delete' then 'deleted'
        else 'told'
    end as status,
    {{ technical_columns() }}
from arrivals
