{#- The events in the touched windows of this model or within the session timeout of them; all of them in
    a full build. None after the moment `until`, where there is one. -#}
{% macro events_around_touched(events, until=none) %}
    {#- As `windows_around` has it. -#}
    {%- set around = (var('network_session_timeout_seconds') + 299) // 300 * 300 %}
    (
        select events.*
        from {{ events }} as events
        {% if is_load_by_load() and execute -%}
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
            {% if until %}and events.event_at <= {{ until }}{% endif %}
            {{ within_touched_ranges(
                'events.event_at', before=around, after=around + 300
            ) }}
    )
{% endmacro %}
