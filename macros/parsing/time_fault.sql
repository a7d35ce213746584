{#-
  Why an event's time is refused: unreadable, before the earliest of its source (a clock that starts at its
  epoch, an empty field), or later than its ingestion by more than a clock may be wrong. Null where it is
  fine. `is_rounded` is whether its text has too few digits, where it came as text.
-#}
{% macro time_fault(source_name, name, column, is_rounded=none) -%}
    {%- set earliest = var(source_name ~ '_earliest_at') -%}
    case
        {% if is_rounded -%}
        when {{ column }} is null and {{ is_rounded }}
            then '{{ name }} has too few digits'
        {% endif -%}
        when {{ column }} is null then '{{ name }} is unreadable'
        when {{ column }} < timestamp '{{ earliest }} 00:00:00+00:00' then '{{ name }} is before {{ earliest }}'
        when {{ column }} > timestampadd(second, {{ var('max_clock_skew_seconds') }}, _ingested_at)
            then '{{ name }} is in the future'
    end
{%- endmacro %}
