{{ config(
    incremental_strategy='replace_touched',
    unique_key=['server_id', 'window_start'],
    partition_by=['window_date'],
    meta={'layout': 'window_date', 'range': 'window_start'},
    tags=['live'],
) }}

{% set events = ref('int_connections') %}
{% set as_of = as_of(events) %}
{% do touch(keys=['window_date', 'window_start', 'server_id'], query=touched_windows(
    events, ref('int_server_versions'), as_of, as_of_before(events)
)) %}

with

windows as (
    {{ windows_to_work_out(events, as_of) }}
),

events as (
    select * from {{ events_around_touched(events) }}
    where event_at <= {{ as_of }}
),

sessions as (
    {{ session_events('events') }}
),

opened as (
    select
        *,
        {{ open_until(as_of) }} as open_until,
        {{ stands_until(open_until(as_of)) }} as stands_until
    from sessions
),

devices as (
    {{ devices_in_windows('opened', 'windows') }}
),

used as (
    {{ bandwidth_at_instants('opened', as_of) }}
),

capacities as (
    {{ capacities_of_windows('windows', ref('int_server_versions')) }}
),

loads as (
    {{ loads_of_windows('used', ref('int_server_versions')) }}
),

latest as (
    select
        server_id,
        {{ window_of('event_at') }} as window_start,
        max(event_at) as last_event_at
    from sessions
    group by server_id, {{ window_of('event_at') }}
),

measured as (
    select
        windows.*,
        capacities.* except (server_id, window_start),
        coalesce(devices.devices_connected, 0) as devices_connected,
        coalesce(devices.devices_peak, 0) as devices_peak,
        coalesce(loads.sum_bps, 0) as sum_bps,
        coalesce(loads.sum_rate, 0) as sum_rate,
        coalesce(
            {{ hundredfold_percentile('loads.used_bps', 'windows.num_instants', 95) }}, 0
        ) as p95_hundredfold,
        latest.last_event_at
    from windows
    left join capacities
        on
            windows.server_id = capacities.server_id
            and windows.window_start = capacities.window_start
    left join devices
        on windows.server_id = devices.server_id and windows.window_start = devices.window_start
    left join loads
        on windows.server_id = loads.server_id and windows.window_start = loads.window_start
    left join latest
        on windows.server_id = latest.server_id and windows.window_start = latest.window_start
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
