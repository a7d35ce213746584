{{ config(
    unique_key=['device_id', 'customer_id', 'device_type', 'ipv4', 'valid_from', 'valid_to'],
) }}

{% set query %}
    select device_id from {{ arrivals(ref('int_device_registrations')) }}
{% endset %}
{% do touch(keys=['device_id'], query=query) %}

with

registrations as (
    select * from {{ only_touched(ref('int_device_registrations')) }}
),

versions as (
    {{ versions_of(
        'registrations', 'device_id', 'registered_at', ['customer_id', 'device_type', 'ipv4'],
        'customer_id, device_type nulls last, ipv4 nulls last'
    ) }}
)

select
    *,
    {{ technical_columns() }}
from versions
