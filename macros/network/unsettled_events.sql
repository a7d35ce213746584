{#- The events of which the meaning may have changed: those that arrivals bring and, where the report time
    has moved on, those whose session was open at the report time before, or whose window was not over. -#}
{% macro unsettled_events(events, as_of, as_of_before) %}
    {%- set since = window_of(as_of_before ~ ' - interval ' ~ var('network_session_timeout_seconds') ~ ' second') -%}
    (
        select * from {{ arrivals(events) }}
        {% if as_of != as_of_before -%}
        union all
        select * from {{ events }}
        where
            _load_id <= {{ cut() }}
            and event_date >= cast({{ since }} as date)
            and event_at >= {{ since }}
        {%- endif %}
    )
{% endmacro %}
