{{ config(
    incremental_strategy='replace_touched',
    unique_key=['server_id', 'window_start'],
    partition_by=['window_date'],
    meta={'layout': 'window_date', 'range': 'window_start'},
) }}

{% set events = ref('int_connections') %}
{% set as_of = as_of(events) %}
{% set arrived = [events, ref('int_server_versions'), as_of, as_of_before(events)] %}
{% set recent = recent_windows(*arrived) %}
{% do touch(
    keys=['window_date', 'window_start', 'server_id'],
    query=windows_in_ranges('latest', recent) if recent else touched_windows(*arrived),
    ranges=recent,
) %}

with

events as (
    select * from {{ events_around_touched(events) }}
    where event_at <= {{ as_of }}
),

sessions as (
    {{ session_events('events') }}
),

pieces as (
    {{ pieces_by_window('sessions', as_of) }}
),

latest as (
    select
        server_id,
        window_start,
        max(event_at) as last_event_at
    from pieces
    group by server_id, window_start
),

windows as (
    {{ windows_to_work_out(events, as_of) }}
),

devices as (
    {{ devices_in_windows('pieces', as_of) }}
),

used as (
    {{ bandwidth_at_instants('pieces') }}
),

loads as (
    {{ loads_of_windows('windows', 'used', ref('int_server_versions')) }}
),

measured as (
    select
        loads.*,
        coalesce(devices.devices_connected, 0) as devices_connected,
        coalesce(devices.devices_peak, 0) as devices_peak,
        {{ hundredfold_percentile('loads.used_bps', 'loads.num_instants', 95) }} as p95_hundredfold,
        latest.last_event_at
    from loads
    left join latest
        on loads.server_id = latest.server_id and loads.window_start = latest.window_start
    left join devices
        on loads.server_id = devices.server_id and loads.window_start = devices.window_start
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
        >= {{ var('overloaded_from') }} * 100 * cast(capacity_bps as decimal(18, 0)),
        null
    ) as is_overloaded,
    last_event_at,
    window_date
from measured
