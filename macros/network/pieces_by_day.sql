{#-
  Events (from `consolidated`), a row for each day of the reports that their open time reaches, up to the report
  time, with `date` and `micros`, for how long of it the sample stands: 0 where it does not.
-#}
{% macro pieces_by_day(events, as_of) %}
    select
        *,
        greatest(
            unix_micros(least(stood_until, {{ as_of }}, {{ day_start('date + interval 1 day') }}))
            - unix_micros(greatest(event_at, {{ day_start('date') }})),
            0
        ) as micros
    from (
        select
            *,
            explode(
                sequence(
                    {{ report_date('event_at') }}, {{ report_date('least(open_until, ' ~ as_of ~ ')') }}
                )
            ) as date
        from ({{ open_times(events, as_of) }}) as opened
        where event_at <= {{ as_of }}
    ) as dated
{% endmacro %}

{#- The moment at which a day of the reports begins. -#}
{% macro day_start(date) -%}
    to_utc_timestamp(cast({{ date }} as timestamp), '{{ var("report_timezone") }}')
{%- endmacro %}
