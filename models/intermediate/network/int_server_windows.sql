{{ config(
    unique_key=['server_id', 'window_start'],
    partition_by=['window_date'],
    meta={'layout': 'window_date', 'range': 'window_start'},
) }}

{% set events = ref('int_connections') %}
{% set as_of, before = as_of(events), as_of(events, is_before=true) %}
{% set last_instant = 'least(window_start + interval 295 second, ' ~ as_of ~ ')' %}
{% set query %}
    select
        server_id,
        window_start,
        cast(window_start as date) as window_date
    from {{ unsettled_events(events, as_of, before) }} as events
    lateral view explode({{ windows_around('event_at') }}) around as window_start
    where window_start <= {{ as_of }}
{% endset %}
{% do touch(keys=['window_date', 'window_start', 'server_id'], query=query) %}

with

sessions as (
    {{ session_events(events_around_touched(events, until=as_of)) }}
),

-- What an event means to the windows into which the open time reaches that it begins.
pieces as (
    select
        *,
        cast(window_start as date) as window_date,
        greatest(event_at, window_start) as opened_at,
        timestamp_seconds((unix_micros(opened_at) + 4999999) div 5000000 * 5) as first_instant,
        least(stood_until - interval 1 microsecond, {{ last_instant }}) as last_instant
    from ({{ open_times('sessions', as_of) }}) as opened
        lateral view explode(
            {{ windows_between('event_at', 'least(open_until, ' ~ as_of ~ ')') }}
        ) reached as window_start
),

-- Brought together by window, so that all that follows moves no rows.
touched as (
    select * from {{ only_touched('pieces') }}
    distribute by server_id, window_start
),

-- A device with two sessions is one.
changes as (
    select
        *,
        cast(sum(delta) over device > 0 as int)
        - cast(sum(delta) over device > delta as int) as change
    from touched
        lateral view stack(2, opened_at, 1, open_until, -1) bounds as moment, delta
    where moment < window_start + interval 300 second and moment <= {{ as_of }}
    window device as (
        partition by server_id, window_start, device_id
        order by moment asc, delta desc rows unbounded preceding
    )
),

windows as (
    select
        server_id,
        window_start,
        sum(change) as devices_connected,
        max(devices) as devices_peak,
        max(if(event_at >= window_start, event_at, null)) as last_event_at
    from (
        select
            *,
            sum(change) over (partition by server_id, window_start order by moment) as devices
        from changes
    ) as running
    group by server_id, window_start
),

samples as (
    select
        server_id,
        window_start,
        received_bps,
        explode(sequence(first_instant, last_instant, interval 5 second)) as instant
    from touched
    where first_instant <= last_instant
    union all
    select
        server_id,
        window_start,
        0 as received_bps,
        explode(sequence(window_start, {{ last_instant }}, interval 5 second)) as instant
    from windows
),

grids as (
    select
        server_id,
        window_start,
        array_sort(collect_list(struct(instant, bps))).bps as used_bps
    from (
        select
            server_id,
            window_start,
            instant,
            sum(received_bps) as bps
        from samples
        group by server_id, window_start, instant
    ) as used
    group by server_id, window_start
)

select
    windows.*,
    cast(windows.window_start as date) as window_date,
    grids.used_bps,
    {{ technical_columns() }}
from windows
inner join grids
    on windows.server_id = grids.server_id and windows.window_start = grids.window_start
