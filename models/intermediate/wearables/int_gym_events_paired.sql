{{ config(unique_key=['gym', 'mac_address', 'action', 'event_at', 'login_at']) }}

{% set query %}
    select gym, mac_address from {{ arrivals(ref('int_gym_events')) }}
    union all
    select logins.gym, logins.mac_address
    from {{ arrivals(ref('int_gym_logins')) }} as logins
    left semi join {{ ref('int_gym_events') }} as events
        on logins.gym = events.gym and logins.mac_address = events.mac_address
{% endset %}
{% do touch(keys=['gym', 'mac_address'], query=query) %}
{% set in_order = 'partition by gym, mac_address order by event_at, action desc' %}

with

-- What a row tells is paired too: a gym may tell a login by a row, and its logout by an event.
told as (
    select
        gym,
        mac_address,
        action,
        event_at,
        true as is_event
    from {{ only_touched(ref('int_gym_events')) }}
    union all
    select
        gym,
        mac_address,
        stack(2, 'login', login_at, 'logout', if(logout_at > login_at, logout_at, null))
            as (action, event_at),
        false as is_event
    from {{ only_touched(ref('int_gym_logins')) }}
    where not _is_deleted
),

told_once as (
    select
        * except (is_event),
        bool_or(is_event) as is_event
    from told
    where event_at is not null
    group by gym, mac_address, action, event_at
),

-- A run is some logins and the logouts that follow. Of one instant the logout comes first.
ordered as (
    select
        *,
        lag(action, 1, 'logout') over ({{ in_order }}) as action_before
    from told_once
),

in_runs as (
    select
        *,
        count_if(action = 'login' and action_before = 'logout') over ({{ in_order }}) as run
    from ordered
),

runs as (
    select
        gym,
        mac_address,
        collect_list(struct(action, event_at)) filter (where is_event) as events,
        array_sort(collect_list(event_at) filter (where action = 'login')) as login_times,
        array_sort(collect_list(event_at) filter (where action = 'logout')) as logout_times
    from in_runs
    group by gym, mac_address, run
),

-- A login belongs to the visit that is open, unless it is too late for that.
begun as (
    select
        *,
        aggregate(
            login_times,
            cast(array() as array<timestamp>),
            (begun, at) -> if(
                at <= array_max(begun) + interval {{ var('wearables_same_visit_seconds') }} second,
                begun,
                concat(begun, array(at))
            )
        ) as begun_at
    from runs
),

-- The first logout ends the last visit; so does a later one, unless it is too late for that.
ended as (
    select
        *,
        array_max(begun_at) as last_begun_at,
        array_max(filter(logout_times, at -> at <= greatest(
            array_min(logout_times),
            array_max(begun_at) + interval {{ var('wearables_same_visit_seconds') }} second
        ))) as ended_at,
        inline(events) as (action, event_at)
    from begun
),

paired as (
    select
        *,
        case
            when action = 'login' then array_max(filter(begun_at, at -> at <= event_at))
            when event_at <= ended_at then last_begun_at
        end as login_at
    from ended
)

select
    gym,
    mac_address,
    action,
    event_at,
    login_at,
    if(login_at = last_begun_at, ended_at, null) as logout_at,
    {{ technical_columns() }}
from paired
