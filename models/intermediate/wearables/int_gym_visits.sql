{{ config(unique_key=['gym', 'mac_address', 'login_at']) }}

{% set query %}
    select gym, mac_address, login_at from {{ arrivals(ref('int_gym_logins')) }}
    union all
    select gym, mac_address, login_at from {{ arrivals(ref('int_gym_events_paired')) }}
    where login_at is not null
{% endset %}
{% do touch(keys=['gym', 'mac_address', 'login_at'], query=query) %}

with

reports as (
    select
        gym,
        mac_address,
        login_at,
        logout_at
    from {{ only_touched(ref('int_gym_logins')) }}
    where not _is_deleted
    union all
    select
        gym,
        mac_address,
        login_at,
        logout_at
    from {{ only_touched(ref('int_gym_events_paired')) }}
    where not _is_deleted and login_at is not null
),

visits as (
    select
        gym,
        mac_address,
        login_at,
        max(logout_at) as logout_at
    from reports
    group by gym, mac_address, login_at
)

select
    *,
    case
        when logout_at is null then 'open'
        when logout_at < login_at then 'incomplete'
        else 'closed'
    end as status,
    {{ technical_columns() }}
from visits
