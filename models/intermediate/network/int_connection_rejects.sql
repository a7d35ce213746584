{{ config(incremental_strategy='replace_loads') }}

with

connections as (
    select * from {{ arrivals(ref('stg_telecom__connections')) }}
),

rejects as (
    {{ rejects_of('connections', 'telecom.connections', 'connections') }}
)

select * from rejects
