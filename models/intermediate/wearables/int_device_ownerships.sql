{{ config(unique_key=['device_id', 'user_id', 'valid_from', 'valid_to']) }}

{% set query %}
    select device_id from {{ arrivals(ref('int_registrations')) }}
{% endset %}
{% do touch(keys=['device_id'], query=query) %}

with

registrations as (
    select * from {{ only_touched(ref('int_registrations')) }}
    where not _is_deleted
),

ownerships as (
    {{ versions_of('registrations', 'device_id', 'registered_at', ['user_id'], 'user_id') }}
)

select
    device_id,
    user_id,
    valid_from,
    valid_to,
    {{ technical_columns() }}
from ownerships
