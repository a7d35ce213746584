{#-
  The time for which samples stand, up to the report time, cut at the midnights of the reports: the rows
  of `samples` (from `consolidated`) with `date` and `micros` over 0 for each of their pieces.
-#}
{% macro pieces_by_day(samples, as_of) %}
    select
        *,
        unix_micros(least(stood_until, {{ as_of }}, {{ day_start('date + interval 1 day') }}))
        - unix_micros(greatest(event_at, {{ day_start('date') }})) as micros
    from (
        select
            *,
            explode(
                sequence(
                    {{ report_date('event_at') }},
                    {{ report_date('least(stood_until, ' ~ as_of ~ ') - interval 1 microsecond') }}
                )
            ) as date
        from ({{ open_times(samples, as_of) }}) as standing
        where event_type = 'usage' and event_at < least(stood_until, {{ as_of }})
    ) as dated
{% endmacro %}

{#- The moment at which a day of the reports begins. -#}
{% macro day_start(date) -%}
    to_utc_timestamp(cast({{ date }} as timestamp), '{{ var("report_timezone") }}')
{%- endmacro %}
