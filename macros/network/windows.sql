{#-
  The windows of servers that arrivals touch, in `server_load`: those within the session timeout of a new
  event; those since the report time before, less the timeout, of all servers; those that a server which
  is new, or known from an earlier moment on, had not; and those in which a capacity has changed.
-#}
{% macro touched_windows(events, versions, as_of, as_of_before) %}
    {% set reach = 300 * windows_of_timeout() %}
    {% set bound = window_of('least(' ~ earliest_arrival(events) ~ ', ' ~ as_of_before ~ ')')
        ~ ' - interval ' ~ (reach + 600) ~ ' second' %}
    with

    -- A server has every window from its first one on, so the last ones tell whether it had one before.
    seen as (
        select
            server_id,
            min(known_window) as known_from,
            min(arrived_window) as arrived_from,
            collect_set(arrived_window) as arrived_windows
        from (
            select
                server_id,
                window_start as known_window,
                cast(null as timestamp) as arrived_window
            from {{ this }}
            where window_date >= cast({{ bound }} as date) and window_start >= {{ bound }}
            union all
            select
                server_id,
                cast(null as timestamp) as known_window,
                {{ window_of('event_at') }} as arrived_window
            from {{ arrivals(events) }}
            where event_at <= {{ as_of }}
        ) as windows
        group by server_id
    ),

    candidates as (
        select
            server_id,
            least(known_from, arrived_from) as first_window,
            explode(
                concat(
                    flatten(transform(arrived_windows, arrived -> {{ windows_around('arrived') }}))
                    {%- if as_of != as_of_before %},
                    coalesce(
                        sequence(
                            {{ window_of(as_of_before) }} - interval {{ reach }} second,
                            {{ window_of(as_of) }},
                            interval 300 second
                        ),
                        array()
                    )
                    {%- endif %},
                    if(
                        arrived_from < coalesce(known_from, {{ end_of_time() }}),
                        sequence(
                            arrived_from,
                            coalesce(known_from, {{ window_of(as_of) }}),
                            interval 300 second
                        ),
                        array()
                    )
                )
            ) as window_start
        from seen
    )

    select
        server_id,
        window_start,
        cast(window_start as date) as window_date
    from candidates
    where window_start >= first_window and window_start <= {{ as_of }}
    union all
    select
        known.server_id,
        known.window_start,
        known.window_date
    from {{ arrivals(versions) }} as changed
    inner join {{ this }} as known
        on
            changed.server_id = known.server_id
            and changed.valid_from < known.window_start + interval 300 second
            and changed.valid_to > known.window_start
{% endmacro %}

{#-
  The last windows of all servers as ranges for `touch`, where these hold all that arrivals touch: from the
  session timeout before the earliest arrival or the report time before, whichever is earlier. None where
  that is more than two hours ago or has to be asked, or a capacity has changed.
-#}
{% macro recent_windows(events, versions, as_of, as_of_before) %}
    {{ return(none) }}
    {% set datetime = modules.datetime %}
    {% set starts = [] %}
    {% for literal in [earliest_arrival(events), as_of_before, as_of] %}
        {% for text in modules.re.findall("'(.+)'", literal) %}
            {% set moment = datetime.datetime.fromisoformat(text) %}
            {% do starts.append(moment - datetime.timedelta(
                minutes=moment.minute % 5, seconds=moment.second, microseconds=moment.microsecond
            )) %}
        {% endfor %}
    {% endfor %}
    {% set first = (starts | min) - datetime.timedelta(minutes=5 * windows_of_timeout()) if starts %}
    {% if starts | length < 3 or starts[2] - first > datetime.timedelta(hours=2) %}
        {{ return(none) }}
    {% endif %}
    {% set days = {} %}
    {% for number in range((starts[2] - first).seconds // 300 + 1) %}
        {% set window_start = first + datetime.timedelta(minutes=5 * number) %}
        {% do days.setdefault("cast('" ~ window_start.date() ~ "' as date)", []).append(
            "cast('" ~ window_start ~ "' as timestamp)"
        ) %}
    {% endfor %}
    {% set ranges = [] %}
    {% for day, windows in days.items() %}
        {% do ranges.append([day, windows | first, windows | last]) %}
    {% endfor %}
    {{ return(ranges) }}
{% endmacro %}

{#- The windows that servers have in these ranges: from the first one on that is there already or, in
    the CTE `latest`, has an event. -#}
{% macro windows_in_ranges(latest, ranges) %}
    select
        server_id,
        window_start,
        cast(window_start as date) as window_date
    from (
        select
            server_id,
            explode(
                sequence(min(window_start), {{ ranges[-1][2] }}, interval 300 second)
            ) as window_start
        from (
            select
                server_id,
                window_start
            from {{ this }}
            where {{ in_ranges('', ranges) }}
            union all
            select
                server_id,
                window_start
            from {{ latest }}
            where last_event_at is not null and window_start >= {{ ranges[0][1] }}
        ) as known
        group by server_id
    ) as continued
{% endmacro %}

{#-
  The windows of this run: the touched ones, or all from each server's first event to the report time.
  Columns: server_id, window_start, window_date, num_instants (of the 5-second grid, up to the report time).
-#}
{% macro windows_to_work_out(events, as_of) %}
    select
        server_id,
        window_start,
        cast(window_start as date) as window_date,
        least(
            60, (unix_micros({{ as_of }}) - unix_micros(window_start)) div 5000000 + 1
        ) as num_instants
    from (
        {% if is_load_by_load() and execute -%}
        select
            server_id,
            window_start
        from {{ touched_keys() }}
        {%- else -%}
        select
            server_id,
            explode(
                sequence({{ window_of('min(event_at)') }}, {{ window_of(as_of) }}, interval 300 second)
            ) as window_start
        from {{ events }}
        where _load_id <= {{ cut() }} and event_at <= {{ as_of }}
        group by server_id
        {%- endif %}
    ) as chosen
{% endmacro %}

{#-
  What is used in windows, and of which capacity. `windows`: `windows_to_work_out`; `used`:
  `bandwidth_at_instants`; `versions`: `int_server_versions`. Per window its columns; location and
  capacity_bps in force at its last instant; capacity_fault, which tells of a capacity that is unknown or
  zero at any of its instants; sum_bps; sum_rate, the sum of used by capacity of the instant; used_bps,
  the sorted values at the instants at which anything was in use.
-#}
{% macro loads_of_windows(windows, used, versions) %}
    select
        server_id,
        window_start,
        window_date,
        num_instants,
        max_by(location, valid_from) as location,
        max_by(capacity_bps, valid_from) as capacity_bps,
        case
            when bool_or(capacity_bps is null) then 'unknown'
            when bool_or(capacity_bps = 0) then 'zero'
        end as capacity_fault,
        coalesce(sum(sum_bps), 0) as sum_bps,
        coalesce(
            sum(
                cast(sum_bps as decimal(20, 0))
                / cast(nullif(capacity_bps, 0) as decimal(16, 0))
            ), 0
        ) as sum_rate,
        array_sort(flatten(collect_list(used_bps))) as used_bps
    from (
        select
            windows.*,
            versions.capacity_bps,
            max(versions.valid_from) as valid_from,
            max_by(versions.location, versions.valid_from) as location,
            sum(used.used_bps) as sum_bps,
            collect_list(used.used_bps) as used_bps
        from {{ windows }} as windows
        left join (select * from {{ versions }} where not _is_deleted) as versions
            on
                windows.server_id = versions.server_id
                and greatest(
                    {{ instant_from('versions.valid_from') }}, {{ instant_from('windows.window_start') }}
                ) < least(
                    {{ instant_from('versions.valid_to') }},
                    {{ instant_from('windows.window_start') }} + windows.num_instants
                )
        left join {{ used }} as used
            on
                windows.server_id = used.server_id
                and windows.window_start = used.window_start
                and (
                    versions.server_id is null
                    or (
                        used.instant >= {{ instant_from('versions.valid_from') }}
                        and used.instant < {{ instant_from('versions.valid_to') }}
                    )
                )
        group by
            windows.server_id,
            windows.window_start,
            windows.window_date,
            windows.num_instants,
            versions.capacity_bps
    ) as by_capacity
    group by server_id, window_start, window_date, num_instants
{% endmacro %}

{#-
  The windows of servers in `consolidated` that arrivals touch: within the session timeout of a new event,
  and those with events of which the customer, the plan or the capacity has changed.
-#}
{% macro windows_of_changed_events(events, device_customers, plans, versions) %}
    with

    arrived as (
        select distinct
            server_id,
            {{ window_of('event_at') }} as window_start
        from {{ arrivals(events) }}
    ),

    around as (
        select
            server_id,
            explode({{ windows_around('window_start') }}) as window_start
        from arrived
    ),

    owners_changed as (
        select
            device_id,
            valid_from,
            valid_to
        from {{ arrivals(device_customers) }}
        union all
        select
            owners.device_id,
            greatest(plans.valid_from, owners.valid_from) as valid_from,
            least(plans.valid_to, owners.valid_to) as valid_to
        from {{ arrivals(plans) }} as plans
        inner join {{ device_customers }} as owners
            on
                plans.customer_id = owners.customer_id
                and plans.valid_from < owners.valid_to
                and plans.valid_to > owners.valid_from
    ),

    changed as (
        select
            server_id,
            window_start
        from around
        union all
        select
            events.server_id,
            {{ window_of('events.event_at') }} as window_start
        from {{ events }} as events
        inner join owners_changed
            on
                events.device_id = owners_changed.device_id
                and events.event_at >= owners_changed.valid_from
                and events.event_at < owners_changed.valid_to
        where events._load_id <= {{ cut() }}
        union all
        select
            events.server_id,
            {{ window_of('events.event_at') }} as window_start
        from {{ events }} as events
        inner join {{ arrivals(versions) }} as versions
            on
                events.server_id = versions.server_id
                and events.event_at >= versions.valid_from
                and events.event_at < versions.valid_to
        where events._load_id <= {{ cut() }}
    )

    select
        server_id,
        window_start,
        cast(window_start as date) as event_date
    from changed
{% endmacro %}

{#- The events in the touched windows of this model or within the session timeout of them; all of them in
    a full build. -#}
{% macro events_around_touched(events) %}
    (
        select events.*
        from {{ events }} as events
        {% if is_load_by_load() and execute and not run_state()['touched'][model.unique_id]['is_whole'] -%}
        left semi join (
            select distinct
                server_id,
                explode({{ windows_around('window_start') }}) as window_start
            from {{ touched_keys() }}
        ) as around
            on
                events.server_id = around.server_id
                and {{ window_of('events.event_at') }} = around.window_start
        {%- endif %}
        where
            events._load_id <= {{ cut() }}
            {{ within_touched_ranges(
                'events.event_at', before=300 * windows_of_timeout(), after=300 * (windows_of_timeout() + 1)
            ) }}
    )
{% endmacro %}
