{{ config(
    unique_key=['customer_id', 'kind', 'plan_bps', 'speed_class', 'valid_from', 'valid_to'],
) }}

{% set query %}
    select customer_id from {{ arrivals(ref('int_customer_changes')) }}
{% endset %}
{% do touch(keys=['customer_id'], query=query) %}

with

changes as (
    select
        *,
        valid_from as changed_at
    from {{ only_touched(ref('int_customer_changes')) }}
),

speed_classes as (
    select * from {{ ref('speed_classes') }}
),

-- Of two at one moment: a known plan, the faster one, a missing before an invalid one.
versions as (
    {{ versions_of(
        'changes', 'customer_id', 'changed_at', ['kind', 'plan_bps', 'is_plan_invalid'],
        'plan_bps desc nulls last, is_plan_invalid, kind desc nulls last'
    ) }}
),

classified as (
    select
        versions.customer_id,
        versions.kind,
        versions.plan_bps,
        case
            when versions.is_plan_invalid then 'invalid'
            when versions.plan_bps is null then 'unknown'
            else speed_classes.speed_class
        end as speed_class,
        versions.valid_from,
        versions.valid_to
    from versions
    left join speed_classes
        on
            versions.plan_bps > coalesce(speed_classes.above_mbps * 1000000, -1)
            and (
                speed_classes.up_to_mbps is null
                or versions.plan_bps <= speed_classes.up_to_mbps * 1000000
            )
)

select
    *,
    {{ technical_columns() }}
from classified
