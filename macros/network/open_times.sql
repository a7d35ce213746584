{#-
  Events of `session_events` with `open_until`, when the open time ends that the event begins: at the next
  event; the end of time while the timeout has not passed; or at once, since the session is lost. And with
  `stood_until`: how long its sample stands in this time.
-#}
{% macro open_times(sessions, as_of) %}
    select
        *,
        if(
            event_type = 'usage',
            least(open_until, event_at + interval {{ var('network_sample_seconds') }} second),
            event_at
        ) as stood_until
    from (
        select
            *,
            case
                when event_type = 'disconnect' then event_at
                when next_at is not null then next_at
                when {{ as_of }} < {{ timeout_after('event_at') }} then {{ end_of_time() }}
                else event_at
            end as open_until
        from {{ sessions }}
    ) as opened
{% endmacro %}
