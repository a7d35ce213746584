{{ config(
    unique_key=['server_id', 'location', 'capacity_bps', 'valid_from', 'valid_to'],
) }}

{% set query %}
    select server_id from {{ arrivals(ref('int_server_changes')) }}
{% endset %}
{% do touch(keys=['server_id'], query=query) %}

with

changes as (
    select
        server_id,
        location,
        capacity_bps,
        valid_from as changed_at
    from {{ only_touched(ref('int_server_changes')) }}
),

-- Of two at one moment, the one that carries more.
versions as (
    {{ versions_of(
        'changes', 'server_id', 'changed_at', ['location', 'capacity_bps'],
        'capacity_bps desc nulls last, location desc nulls last'
    ) }}
)

select
    *,
    {{ technical_columns() }}
from versions
