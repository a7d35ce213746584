{#-
  The days of customers that arrivals touch, in `subscribed_vs_received`: those of new and changed
  samples; those of samples that stood at the report time before; and those on which a plan has changed.
-#}
{% macro touched_customer_days(consolidated, plans, as_of_before) %}
    select
        samples.customer_id,
        explode(
            sequence(
                {{ report_date('samples.event_at') }},
                {{ report_date('samples.event_at + interval ' ~ var('sample_seconds') ~ ' second') }}
            )
        ) as date
    from (
        select
            customer_id,
            event_at
        from {{ arrivals(consolidated) }}
        where event_type = 'usage' and customer_id is not null
        union all
        select
            customer_id,
            event_at
        from {{ consolidated }}
        where
            event_type = 'usage'
            and customer_id is not null
            and event_date >= cast(
                {{ as_of_before }} - interval {{ var('session_timeout_seconds') }} second as date
            )
            and event_at >= {{ as_of_before }}
                - interval {{ var('session_timeout_seconds') }} second
    ) as samples
    union all
    select
        known.customer_id,
        known.date
    from {{ arrivals(plans) }} as changed
    inner join {{ this }} as known
        on
            changed.customer_id = known.customer_id
            and changed.valid_from < {{ day_start('known.date + interval 1 day') }}
            and changed.valid_to > {{ day_start('known.date') }}
{% endmacro %}
