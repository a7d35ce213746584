{#- Why an event's time is refused: unreadable, or later than its ingestion by more than a clock may be
    wrong. Null where it is fine. -#}
{% macro time_fault(name, column) -%}
    case
        when {{ column }} is null then '{{ name }} is unreadable'
        when {{ column }} > timestampadd(second, {{ var('max_clock_skew_seconds') }}, _ingested_at)
            then '{{ name }} is in the future'
    end
{%- endmacro %}
