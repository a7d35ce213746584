{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['account', 'changed_at'],
    skip_matched_step=true,
) }}

select distinct
    account,
    changed_at,
    kind,
    name,
    {{ technical_columns() }}
from {{ arrivals(ref('stg_names')) }}
