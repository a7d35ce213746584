with

registrations as (
    select * from {{ ref('int_registrations') }}
),

readings as (
    select * from {{ ref('int_readings') }}
),

gym_logins as (
    select * from {{ ref('int_gym_logins') }}
),

workout_events as (
    select * from {{ ref('int_workout_events') }}
),

unmatched_readings as (
    select
        'sbit.kafka_multiplex' as source,
        'heart_rates' as entity,
        'the device is not registered' as reason,
        cast(readings.device_id as string) as key,
        count(*) as num_events
    from readings
    left anti join registrations
        on readings.device_id = registrations.device_id
    group by readings.device_id
),

unmatched_workout_events as (
    select
        'sbit.kafka_multiplex' as source,
        'workout_events' as entity,
        'the user has not registered a device' as reason,
        cast(workout_events.user_id as string) as key,
        count(*) as num_events
    from workout_events
    left anti join registrations
        on workout_events.user_id = registrations.user_id
    group by workout_events.user_id
),

unmatched_gym_logins as (
    select
        'sbit.gym_logins' as source,
        'gym_logins' as entity,
        'the mac address is not registered' as reason,
        gym_logins.mac_address as key,
        count(*) as num_events
    from gym_logins
    left anti join registrations
        on gym_logins.mac_address = registrations.mac_address
    group by gym_logins.mac_address
),

connections as (
    select * from {{ ref('consolidated') }}
    where not _is_deleted
),

unmatched_connections as (
    select
        'telecom.connections' as source,
        'connections' as entity,
        reason,
        key,
        count(*) as num_events
    from (
        select
            inline(
                filter(
                    array(
                        struct(
                            'the device is not registered' as reason,
                            cast(device_id as string) as key,
                            customer_id is null as is_so
                        ),
                        struct(
                            'the server is not known' as reason,
                            cast(server_id as string) as key,
                            not is_server_known as is_so
                        ),
                        struct(
                            'a disconnect without a connect' as reason,
                            cast(session_id as string) as key,
                            event_type = 'disconnect' and not was_open as is_so
                        ),
                        struct(
                            'usage without a connect' as reason,
                            cast(session_id as string) as key,
                            event_type = 'usage' and not was_open as is_so
                        )
                    ),
                    reasons -> reasons.is_so
                )
            )
        from connections
    ) as found
    group by reason, key
),

unmatched as (
    select * from unmatched_readings
    union all
    select * from unmatched_workout_events
    union all
    select * from unmatched_gym_logins
    union all
    select * from unmatched_connections
)

select * from unmatched
