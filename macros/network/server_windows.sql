{#-
  What each event of a session means to the windows that it reaches into. `sessions`: `session_events`. Per
  piece: event_at where it lies in the window; open_from and open_until, between which its device is
  connected; received_bps at the instants (of the 5-second grid, in seconds since the epoch by 5) from
  first_instant to last_instant, none where the last is before the first. The pieces of a window are
  brought together, so that all that follows window by window moves no rows.
-#}
{% macro pieces_by_window(sessions, as_of) %}
    select
        server_id,
        window_start,
        device_id,
        if(event_at >= window_start, event_at, null) as event_at,
        greatest(event_at, window_start) as open_from,
        open_until,
        received_bps,
        greatest({{ instant_from('event_at') }}, {{ instant_from('window_start') }}) as first_instant,
        least(
            {{ instant_from('stands_until') }} - 1,
            {{ instant_from('window_start') }} + 59,
            unix_micros({{ as_of }}) div 5000000
        ) as last_instant
    from (
        select
            *,
            {{ stands_until('open_until') }} as stands_until,
            explode(
                sequence(
                    {{ window_of('event_at') }},
                    {{ window_of('least(open_until, ' ~ timeout_after('event_at') ~ ')') }},
                    interval 300 second
                )
            ) as window_start
        from (
            select
                *,
                {{ open_until(as_of) }} as open_until
            from {{ sessions }}
        ) as opened
    ) as reaching
    distribute by server_id, window_start
{% endmacro %}

{#-
  What the open times of devices make of windows. Per window: devices_connected in its last moment, or at
  the report time, and devices_peak at one moment. A device with two sessions is one.
-#}
{% macro devices_in_windows(pieces, as_of) %}
    select
        server_id,
        window_start,
        sum(change) as devices_connected,
        max(devices) as devices_peak
    from (
        select
            *,
            sum(change) over (partition by server_id, window_start order by moment) as devices
        from (
            select
                server_id,
                window_start,
                moment,
                if(sum(delta) over (device) > 0, 1, 0)
                - if(sum(delta) over (device) - delta > 0, 1, 0) as change
            from (
                select
                    server_id,
                    window_start,
                    device_id,
                    moment,
                    sum(delta) as delta
                from (
                    select
                        *,
                        explode(map(open_from, 1, open_until, -1)) as (moment, delta)
                    from {{ pieces }}
                    where open_until > open_from
                ) as bounds
                where moment < window_start + interval 300 second and moment <= {{ as_of }}
                group by server_id, window_start, device_id, moment
            ) as moments
            window device as (partition by server_id, window_start, device_id order by moment)
        ) as changes
    ) as running
    group by server_id, window_start
{% endmacro %}

{#-
  The bandwidth in use at the instants of the 5-second grid: the last sample of each open session, while
  it stands. Per window and instant used_bps; instants at which nothing is in use are left out.
-#}
{% macro bandwidth_at_instants(pieces) %}
    select
        server_id,
        window_start,
        instant,
        sum(received_bps) as used_bps
    from (
        select
            server_id,
            window_start,
            received_bps,
            explode(sequence(first_instant, last_instant)) as instant
        from {{ pieces }}
        where first_instant <= last_instant
    ) as exploded
    group by server_id, window_start, instant
{% endmacro %}

{#- The first instant of the 5-second grid at or after a moment. -#}
{% macro instant_from(moment) -%}
    (unix_micros({{ moment }}) + 4999999) div 5000000
{%- endmacro %}
