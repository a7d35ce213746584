{{ config(
    schema='gold',
    materialized='view',
    persist_docs={'relation': true, 'columns': true},
    meta={'since': 'as_of - interval ' ~ var('network_session_timeout_seconds') ~ ' second'},
) }}

with

-- What is both built and among the arrivals stands here twice; all that follows asks for the
-- last, the highest or the distinct.
connections as (
    select
        *,
        event_at <= (
            select max(loads.recorded_at)
            from {{ ref('int_loads_closed') }} as loads
        ) as has_happened
    from {{ ref('int_connections_live') }}
),

sessions as (
    select
        server_id,
        device_id,
        max(event_at) as last_event_at,
        max(struct({{ session_order() }}, event_type)) filter (where has_happened) as last
    from connections
    group by server_id, session_id, device_id
),

-- All that is known of a server, a row each session and change.
known as (
    select
        server_id,
        device_id,
        last_event_at,
        last,
        cast(null as timestamp) as valid_from,
        cast(null as struct<capacity_bps: bigint, location: string>) as version
    from sessions
    union all
    select
        server_id,
        null as device_id,
        last_event_at,
        null as last,
        null as valid_from,
        null as version
    from {{ ref('int_servers_seen') }}
    {% for changes in [ref('int_server_changes'), ref('int_servers_arrived')] -%}
    union all
    select
        server_id,
        null as device_id,
        null as last_event_at,
        null as last,
        valid_from,
        struct(capacity_bps, location) as version
    from {{ changes }}
    {% endfor %}
),

dated as (
    select
        *,
        max(last.event_at) over () as as_of
    from known
),

-- In force is the last version that has begun, before the first one the first; of two at one
-- moment the one that carries more.
servers as (
    select
        server_id,
        as_of,
        count(distinct device_id) filter (
            where last.event_type <> 'disconnect' and as_of < {{ timeout_after('last.event_at') }}
        ) as devices_connected,
        coalesce(
            sum(last.received_bps) filter (
                where as_of < last.event_at + interval {{ var('network_sample_seconds') }} second
                and as_of < {{ timeout_after('last.event_at') }}
            ),
            0
        ) as used_bps,
        coalesce(
            max_by(version, struct(valid_from, version)) filter (where valid_from <= as_of),
            max_by(version, struct(-unix_micros(valid_from), version))
            filter (where valid_from is not null)
        ) as version,
        max(last_event_at) as last_event_at
    from dated
    group by server_id, as_of
)

select
    server_id,
    version.location,
    as_of,
    devices_connected,
    {{ mbps_of('used_bps') }} as bandwidth_used_mbps,
    {{ mbps_of('version.capacity_bps') }} as capacity_mbps,
    cast(used_bps as double) / nullif(version.capacity_bps, 0) as usage_rate,
    used_bps >= {{ var('network_overloaded_from') }}
    * cast(nullif(version.capacity_bps, 0) as decimal(18, 0)) as is_overloaded,
    last_event_at
from servers
