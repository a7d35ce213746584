{% set content = [
    'click_id', 'session_id', 'customer_id', 'product_id', 'action', 'clicked_at'
] %}
{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=content,
    partition_by=['click_date'],
    meta={'layout': 'click_date', 'range': 'clicked_at'},
    tblproperties={'delta.autoOptimize.autoCompact': 'true'},
    skip_matched_step=true,
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_retail__clicks')) }}
    where reject_reason is null
)

select distinct
    {{ content | join(',\n    ') }},
    cast(clicked_at as date) as click_date,
    {{ payload_sha256(content) }} as payload_sha256,
    {{ technical_columns() }}
from arrivals
