with

readings as (
    select * from {{ ref('int_readings') }}
),

ownerships as (
    select * from {{ ref('int_device_ownerships') }}
    where not _is_deleted
),

unmatched as (
    select
        'sbit.kafka_multiplex' as source,
        'heart_rates' as entity,
        'the device is not registered' as reason,
        readings.device_id as key,
        count(*) as num_events
    from readings
    left anti join ownerships
        on readings.device_id = ownerships.device_id
    group by readings.device_id
)

select * from unmatched
