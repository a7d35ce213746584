{#-
  What the open times of devices make of windows. `opened`: server_id, device_id, event_at, open_until.
  `windows`: server_id, window_start, ends_at (its last moment seen is before it). Per window:
  devices_connected in its last moment, devices_peak at one moment. A device with two sessions is one.
-#}
{% macro devices_in_windows(opened, windows) %}
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
                        windows.server_id,
                        windows.window_start,
                        windows.ends_at,
                        opened.device_id,
                        explode(
                            map(
                                greatest(opened.event_at, windows.window_start), 1,
                                opened.open_until, -1
                            )
                        ) as (moment, delta)
                    from (
                        select
                            *,
                            explode(
                                sequence(
                                    {{ window_of('event_at') }},
                                    {{ window_of('least(open_until, ' ~ timeout_after('event_at') ~ ')') }},
                                    interval 300 second
                                )
                            ) as window_start
                        from {{ opened }}
                        where open_until > event_at
                    ) as opened
                    inner join {{ windows }} as windows
                        on
                            opened.server_id = windows.server_id
                            and opened.window_start = windows.window_start
                            and opened.event_at < windows.ends_at
                            and opened.open_until > windows.window_start
                ) as bounds
                where moment < ends_at
                group by server_id, window_start, device_id, moment
            ) as moments
            window device as (partition by server_id, window_start, device_id order by moment)
        ) as changes
    ) as running
    group by server_id, window_start
{% endmacro %}

{#-
  The bandwidth in use at the instants of a 5-second grid: the last sample of each open session, while
  it stands. `opened`: server_id, event_at, received_bps, stands_until. Per server and instant (seconds
  since the epoch, divided by 5) used_bps; instants at which nothing is in use are left out.
-#}
{% macro bandwidth_at_instants(opened, as_of) %}
    select
        server_id,
        instant,
        sum(received_bps) as used_bps
    from (
        select
            server_id,
            received_bps,
            explode(sequence(first_instant, last_instant)) as instant
        from (
            select
                server_id,
                received_bps,
                {{ instant_from('event_at') }} as first_instant,
                least(
                    {{ instant_from('stands_until') }} - 1,
                    unix_micros({{ as_of }}) div 5000000
                ) as last_instant
            from {{ opened }}
            where stands_until > event_at
        ) as standing
        where first_instant <= last_instant
    ) as exploded
    group by server_id, instant
{% endmacro %}

{#- The first instant of the 5-second grid at or after a moment. -#}
{% macro instant_from(moment) -%}
    (unix_micros({{ moment }}) + 4999999) div 5000000
{%- endmacro %}
