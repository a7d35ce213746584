{{ config(incremental_strategy='replace_loads') }}

with

servers as (
    select * from {{ arrivals(ref('stg_telecom__servers')) }}
),

customers as (
    select * from {{ arrivals(ref('stg_telecom__customers')) }}
),

devices as (
    select * from {{ arrivals(ref('stg_telecom__devices')) }}
),

rejects as (
    {{ rejects_of('servers', 'telecom.servers', 'servers', with_fields=true) }}
    union all
    {{ rejects_of('customers', 'telecom.customers', 'customers', with_fields=true) }}
    union all
    {{ rejects_of('devices', 'telecom.devices', 'devices', with_fields=true) }}
)

select * from rejects
