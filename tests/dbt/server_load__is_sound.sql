{#- The cheap check before the live loop publishes: the windows of the last hours have one row
    each, and no server has more devices at the end than at the peak, or a negative load. -#}
{{ config(tags=['live']) }}

{% set as_of = as_of(ref('int_connections')) %}

select
    server_id,
    window_start
from {{ ref('server_load') }}
where
    window_date >= cast({{ as_of }} - interval 2 hour as date)
    and window_start >= {{ as_of }} - interval 2 hour
group by server_id, window_start
having
    count(*) > 1
    or min(devices_connected) < 0
    or max(devices_connected) > max(devices_peak)
    or min(bandwidth_used_mbps) < 0
