{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['id', 'account', 'amount', 'event_at'],
    skip_matched_step=true,
) }}

select distinct
    id,
    account,
    amount,
    event_at,
    {{ technical_columns() }}
from {{ arrivals(ref('stg_entries')) }}
