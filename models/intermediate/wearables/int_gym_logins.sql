{{ config(unique_key=['gym', 'mac_address', 'login_at', 'logout_at']) }}

{% set key = ['gym', 'mac_address', 'login_at'] %}
{% set query %}
    select gym, mac_address, login_at
    from {{ arrivals(ref('int_gym_logins_delivered')) }}
    where status = 'told'
    union all
    select delivered.gym, delivered.mac_address, delivered.login_at
    from {{ ref('int_gym_logins_delivered') }} as delivered
    left semi join {{ arrivals(ref('int_gym_logins_delivered')) }} as arrived
        on delivered._pull_key = arrived._pull_key
    where delivered.status = 'told'
{% endset %}
{% do touch(keys=key, query=query) %}

with

told as (
    select * from {{ only_touched(ref('int_gym_logins_delivered')) }}
    where status = 'told'
),

logins as (
    {{ rows_that_count('told', ref('int_gym_logins_delivered'), key) }}
)

select distinct
    gym,
    mac_address,
    login_at,
    logout_at,
    {{ technical_columns() }}
from logins
