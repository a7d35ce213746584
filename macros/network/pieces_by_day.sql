{#-
  The time for which samples stand, up to the report time, cut at the midnights of the reports: the rows
  of `samples` (from `consolidated`) with `date` and `micros` over 0 for each of their pieces.
-#}
{% macro pieces_by_day(samples, as_of) %}
    select
        *,
        unix_micros(least(stood_until, {{ day_start('date + interval 1 day') }}))
        - unix_micros(greatest(event_at, {{ day_start('date') }})) as micros
    from (
        select
            *,
            explode(
                sequence(
                    {{ report_date('event_at') }},
                    {{ report_date('stood_until - interval 1 microsecond') }}
                )
            ) as date
        from (
            select
                *,
                least({{ stands_until(open_until(as_of)) }}, {{ as_of }}) as stood_until
            from {{ samples }}
            where event_type = 'usage' and event_at <= {{ as_of }}
        ) as standing
        where stood_until > event_at
    ) as dated
{% endmacro %}

{#- The moment at which a day of the reports begins. -#}
{% macro day_start(date) -%}
    to_utc_timestamp(cast({{ date }} as timestamp), '{{ var("report_timezone") }}')
{%- endmacro %}
