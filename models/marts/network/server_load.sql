{{ config(
    incremental_strategy='replace_touched',
    unique_key=['server_id', 'window_start'],
    partition_by=['window_date'],
    meta={'layout': 'window_date', 'range': 'window_start'},
) }}

{% set windows, versions = ref('int_server_windows'), ref('int_server_versions') %}
{% set query %}
    select
        window_date,
        window_start,
        server_id
    from {{ arrivals(windows) }}
    union all
    {{ rows_of_changed(
        versions, 'server_id', ['window_date', 'window_start', 'server_id'],
        'window_start', 'window_start + interval 300 second'
    ) }}
{% endset %}
{% do touch(keys=['window_date', 'window_start', 'server_id'], query=query) %}

with

instants as (
    select
        *,
        window_start + position * interval 5 second as instant
    from {{ only_touched(windows) }}
        lateral view posexplode(used_bps) grid as position, bps
    where not _is_deleted
),

versions as (
    select * from {{ versions }}
    where not _is_deleted
),

loads as (
    select
        instants.server_id,
        instants.window_start,
        instants.window_date,
        instants.devices_connected,
        instants.devices_peak,
        instants.last_event_at,
        count(*) as num_instants,
        sum(cast(instants.bps as decimal(20, 0))) as sum_bps,
        {{ hundredfold_percentile('array_sort(collect_list(instants.bps))', 95) }}
            as p95_hundredfold,
        max_by(versions.location, instants.instant) as location,
        max_by(versions.capacity_bps, instants.instant) as capacity_bps,
        case
            when bool_or(versions.capacity_bps is null) then 'unknown'
            when bool_or(versions.capacity_bps = 0) then 'zero'
        end as capacity_fault,
        sum(
            cast(instants.bps as decimal(20, 0))
            / cast(nullif(versions.capacity_bps, 0) as decimal(16, 0))
        ) as sum_rate
    from instants
    left join versions
        on
            instants.server_id = versions.server_id
            and instants.instant >= versions.valid_from
            and instants.instant < versions.valid_to
    group by
        instants.server_id,
        instants.window_start,
        instants.window_date,
        instants.devices_connected,
        instants.devices_peak,
        instants.last_event_at
)

select
    server_id,
    location,
    window_start,
    devices_connected,
    devices_peak,
    cast(sum_bps as double) / (num_instants * 1000000) as bandwidth_used_mbps,
    cast(p95_hundredfold as double) / 100000000 as bandwidth_p95_mbps,
    {{ mbps_of('capacity_bps') }} as capacity_mbps,
    if(capacity_fault is null, cast(sum_rate as double) / num_instants, null) as usage_rate,
    capacity_fault,
    if(
        capacity_fault is null,
        p95_hundredfold
        >= {{ var('network_overloaded_from') }} * 100 * cast(capacity_bps as decimal(18, 0)),
        null
    ) as is_overloaded,
    last_event_at,
    window_date
from loads
