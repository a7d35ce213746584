{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=[
        'customer_id', 'kind', 'name', 'address', 'plan_bps', 'is_plan_invalid', 'valid_from'
    ],
    skip_matched_step=true,
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_telecom__customers')) }}
    where reject_reason is null
)

select distinct
    customer_id,
    kind,
    name,
    address,
    plan_bps,
    is_plan_invalid,
    valid_from,
    {{ technical_columns() }}
from arrivals
