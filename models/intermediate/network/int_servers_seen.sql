{{ config(incremental_strategy='merge_arrivals', unique_key=['server_id']) }}

with

arrivals as (
    select
        server_id,
        event_at as first_event_at,
        event_at as last_event_at
    from {{ arrivals(ref('int_connections')) }}
    {% if is_load_by_load() -%}
    union all
    select
        server_id,
        first_event_at,
        last_event_at
    from {{ this }}
    {%- endif %}
)

select
    server_id,
    min(first_event_at) as first_event_at,
    max(last_event_at) as last_event_at,
    {{ technical_columns() }}
from arrivals
group by server_id
