{{ config(unique_key=['gym', 'mac_address', 'login_at']) }}

{% set query %}
    select gym, mac_address, login_at from {{ arrivals(ref('int_gym_logins')) }}
{% endset %}
{% do touch(keys=['gym', 'mac_address', 'login_at'], query=query) %}

with

logins as (
    select * from {{ only_touched(ref('int_gym_logins')) }}
),

visits as (
    select
        gym,
        mac_address,
        login_at,
        max(logout_at) as logout_at
    from logins
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
