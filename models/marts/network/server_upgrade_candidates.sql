{{ config(incremental_strategy='merge_arrivals', unique_key=['server_id']) }}

{% set as_of = as_of(ref('int_connections')) %}
{#- What begins after this moment counts. -#}
{% set since = window_of(as_of) ~ ' - interval ' ~ var('network_upgrade_days') ~ ' day' %}

with

versions as (
    select * from {{ ref('int_server_versions') }}
    where not _is_deleted
),

seen as (
    select
        server_id,
        greatest(
            {{ window_of('first_event_at') }}, {{ since }} + interval 5 minute
        ) as counted_from,
        {{ as_of }} as counted_until
    from {{ ref('int_servers_seen') }}
    where first_event_at <= {{ as_of }}
),

loads as (
    select * from {{ ref('server_load') }}
    where
        window_date >= cast({{ since }} as date)
        and window_start > {{ since }}
        and window_start <= {{ as_of }}
),

counted as (
    select
        server_id,
        window_start,
        usage_rate,
        bandwidth_used_mbps,
        is_overloaded,
        1 as num_windows
    from loads
    union all
    select
        server_id,
        null as window_start,
        0 as usage_rate,
        0 as bandwidth_used_mbps,
        false as is_overloaded,
        num_windows
    from ({{ windows_without_a_row('seen', 'loads', ['server_id']) }}) as absent
),

measured as (
    select
        server_id,
        percentile(usage_rate, 0.95, num_windows) as usage_rate_p95,
        percentile(bandwidth_used_mbps, 0.95, num_windows) filter (where usage_rate is not null)
            as used_p95_mbps,
        count_if(is_overloaded) as overloaded_windows,
        count(distinct if(is_overloaded, {{ report_date('window_start') }}, null))
            as days_overloaded
    from counted
    group by server_id
),

steps as (
    select
        measured.server_id,
        min(capacity_steps.capacity_mbps) as step_mbps
    from measured
    inner join {{ ref('capacity_steps') }} as capacity_steps
        on
            measured.used_p95_mbps
            < {{ var('network_overloaded_from') }} * capacity_steps.capacity_mbps
    group by measured.server_id
),

judged as (
    select
        coalesce(present.server_id, seen.server_id) as server_id,
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
            when measured.usage_rate_p95 < {{ var('network_overloaded_from') }} then 'fine'
            when steps.step_mbps is null then 'overloaded beyond the largest step'
            when steps.step_mbps <= capacity_mbps then 'the capacity has been raised'
            else 'overloaded'
        end as reason
    from (
        select * from versions
        where valid_from <= {{ as_of }} and valid_to > {{ as_of }}
    ) as present
    full outer join seen on present.server_id = seen.server_id
    left join measured on seen.server_id = measured.server_id
    left join steps on seen.server_id = steps.server_id
)

select
    * except (step_mbps),
    if(reason = 'overloaded', cast(step_mbps as double), null) as recommended_capacity_mbps
from judged
