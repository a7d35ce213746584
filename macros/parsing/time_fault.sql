{#-
  Why an event's time is refused: unreadable, before the earliest of its source (a clock that starts at its
  epoch, an empty field), or later than its ingestion by more than a clock may be wrong. Null where it is
  fine. `text` is what it came as, where that was text: with too few digits it is refused, too
  (`has_too_few_digits`, also for `is_as_written`).
-#}
{% macro time_fault(source_name, name, column, text=none, is_as_written='true') -%}
    {%- set earliest = var(source_name ~ '_earliest_at') -%}
    case
        {% if text -%}
        when {{ column }} is null and {{ has_too_few_digits(text, is_as_written) }}
            then '{{ name }} has too few digits'
        {% endif -%}
        when {{ column }} is null then '{{ name }} is unreadable'
        when {{ column }} < timestamp '{{ earliest }} 00:00:00+00:00' then '{{ name }} is before {{ earliest }}'
        when {{ column }} > timestampadd(second, {{ var('max_clock_skew_seconds') }}, _ingested_at)
            then '{{ name }} is in the future'
    end
{%- endmacro %}
