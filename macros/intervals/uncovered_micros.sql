{#-
  The microseconds that an interval adds to those before it (by start) of the same group: their sum is
  the length of the union of the intervals.
-#}
{% macro uncovered_micros(started_at, ended_at, group) -%}
    greatest(
        unix_micros({{ ended_at }}) - greatest(
            unix_micros({{ started_at }}),
            coalesce(
                max(unix_micros({{ ended_at }})) over (
                    partition by {{ group | join(', ') }}
                    order by {{ started_at }}, {{ ended_at }}
                    rows between unbounded preceding and 1 preceding
                ),
                unix_micros({{ started_at }})
            )
        ),
        0
    )
{%- endmacro %}
