{{ config(incremental_strategy='merge_arrivals', unique_key=['server_id']) }}

{% set as_of = as_of(ref('int_connections')) %}

with

windows as (
    select * from {{ ref('server_load') }}
    where
        window_date >= cast({{ as_of }} - interval {{ var('upgrade_days') }} day as date)
        and window_start >= {{ as_of }} - interval {{ var('upgrade_days') }} day
        and window_start <= {{ as_of }}
),

present as (
    select * from {{ ref('int_server_versions') }}
    where
        not _is_deleted
        and valid_from <= {{ as_of }}
        and valid_to > {{ as_of }}
),

measured as (
    select
        server_id,
        percentile(usage_rate, 0.95) as usage_rate_p95,
        percentile(bandwidth_used_mbps, 0.95) filter (where usage_rate is not null)
            as used_p95_mbps,
        count_if(is_overloaded) as overloaded_windows,
        count(distinct if(is_overloaded, {{ report_date('window_start') }}, null))
            as days_overloaded
    from windows
    group by server_id
),

steps as (
    select
        measured.server_id,
        min(capacity_steps.capacity_mbps) as step_mbps
    from measured
    inner join {{ ref('capacity_steps') }} as capacity_steps
        on measured.used_p95_mbps < {{ var('overloaded_from') }} * capacity_steps.capacity_mbps
    group by measured.server_id
),

judged as (
    select
        coalesce(present.server_id, measured.server_id) as server_id,
        present.location,
        {{ mbps_of('present.capacity_bps') }} as capacity_mbps,
        measured.usage_rate_p95,
        coalesce(measured.overloaded_windows, 0) as overloaded_windows,
        coalesce(measured.days_overloaded, 0) as days_overloaded,
        steps.step_mbps,
        case
            when present.capacity_bps is null then 'the capacity is unknown'
            when present.capacity_bps = 0 then 'the capacity is zero'
            when measured.usage_rate_p95 is null then 'no traffic'
            when measured.usage_rate_p95 < {{ var('overloaded_from') }} then 'fine'
            when steps.step_mbps is null then 'overloaded beyond the largest step'
            when steps.step_mbps <= {{ mbps_of('present.capacity_bps') }}
                then 'the capacity has been raised'
            else 'overloaded'
        end as reason
    from present
    full outer join measured on present.server_id = measured.server_id
    left join steps on measured.server_id = steps.server_id
)

select
    server_id,
    location,
    capacity_mbps,
    usage_rate_p95,
    overloaded_windows,
    days_overloaded,
    if(reason = 'overloaded', cast(step_mbps as double), null) as recommended_capacity_mbps,
    reason
from judged
