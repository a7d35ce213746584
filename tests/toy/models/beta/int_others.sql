{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['id'],
    skip_matched_step=true,
) }}

select distinct
    id,
    key,
    amount,
    {{ technical_columns() }}
from {{ arrivals(source('toy', 'others')) }}
