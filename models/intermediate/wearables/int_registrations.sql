{% set key = ['user_id', 'device_id', 'mac_address', 'registered_at'] %}
{{ config(unique_key=key) }}

{% set query %}
    select {{ key | join(', ') }}
    from {{ arrivals(ref('int_registrations_delivered')) }}
    where status = 'told'
    union all
    select delivered.{{ key | join(', delivered.') }}
    from {{ ref('int_registrations_delivered') }} as delivered
    left semi join {{ arrivals(ref('int_registrations_delivered')) }} as arrived
        on delivered._pull_key = arrived._pull_key
    where delivered.status = 'told'
{% endset %}
{% do touch(keys=key, query=query) %}

with

told as (
    select * from {{ only_touched(ref('int_registrations_delivered')) }}
    where status = 'told'
),

registrations as (
    {{ rows_that_count('told', ref('int_registrations_delivered'), key) }}
)

select distinct
    user_id,
    device_id,
    mac_address,
    registered_at,
    {{ technical_columns() }}
from registrations
