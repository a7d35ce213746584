{{ config(incremental_strategy='replace_loads') }}

with

connections as (
    select * from {{ arrivals(ref('stg_telecom__connections')) }}
),

messages as (
    select * from {{ arrivals(ref('stg_telecom__messages')) }}
),

rejects as (
    {{ rejects_of('connections', 'source_name', 'connections') }}
    union all
    {{ rejects_of('messages', 'telecom.kafka_multiplex', 'messages', with_fields=true) }}
)

select * from rejects
