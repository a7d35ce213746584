{#-
  Events with what their session's neighbours say of them: `next_at`, the next event within the session
  timeout, and `was_open`, whether the session was open before. The last event at or before a moment
  decides whether a session is open, so no more of its past has to be read than the timeout reaches.
-#}
{% macro session_events(events) %}
    select
        *,
        case
            when lead(event_at) over (session) < {{ timeout_after('event_at') }}
                then lead(event_at) over (session)
        end as next_at,
        coalesce(
            event_at < {{ timeout_after('lag(event_at) over (session)') }}
            and lag(event_type) over (session) <> 'disconnect',
            false
        ) as was_open
    from {{ events }}
    window session as (
        partition by server_id, session_id, device_id
        order by {{ session_order() }}
    )
{% endmacro %}

{#- The order of a session's events: of those at one moment the disconnect is the last; the rest is by content. -#}
{% macro session_order() -%}
    event_at,
    case event_type when 'connect' then 0 when 'usage' then 1 else 2 end,
    received_bps,
    asked_bps,
    bytes,
    event_id
{%- endmacro %}

{#- When a session is lost that has been silent since a moment. -#}
{% macro timeout_after(moment) -%}
    {{ moment }} + interval {{ var('network_session_timeout_seconds') }} second
{%- endmacro %}
