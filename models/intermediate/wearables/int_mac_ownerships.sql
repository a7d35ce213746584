{{ config(unique_key=['mac_address', 'user_id', 'valid_from', 'valid_to']) }}

{% set query %}
    select mac_address from {{ arrivals(ref('int_registrations')) }}
{% endset %}
{% do touch(keys=['mac_address'], query=query) %}

with

registrations as (
    select * from {{ only_touched(ref('int_registrations')) }}
    where not _is_deleted
),

ownerships as (
    {{ versions_of('registrations', 'mac_address', 'registered_at', ['user_id'], 'user_id') }}
)

select
    mac_address,
    user_id,
    valid_from,
    valid_to,
    {{ technical_columns() }}
from ownerships
