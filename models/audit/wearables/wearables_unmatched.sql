with

registrations as (
    select * from {{ ref('int_registrations') }}
    where not _is_deleted
),

readings as (
    select * from {{ ref('int_readings') }}
),

gym_logins as (
    select * from {{ ref('int_gym_logins') }}
    where not _is_deleted
),

gym_events as (
    select * from {{ ref('int_gym_events_paired') }}
    where not _is_deleted
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

unmatched_gym_events as (
    select
        'sbit.kafka_multiplex' as source,
        'gym_events' as entity,
        'the mac address is not registered' as reason,
        gym_events.mac_address as key,
        count(*) as num_events
    from gym_events
    left anti join registrations
        on gym_events.mac_address = registrations.mac_address
    group by gym_events.mac_address
),

logouts_without_a_login as (
    select
        'sbit.kafka_multiplex' as source,
        'gym_events' as entity,
        'a logout without a login' as reason,
        mac_address as key,
        count(*) as num_events
    from gym_events
    where login_at is null
    group by mac_address
),

unmatched as (
    select * from unmatched_readings
    union all
    select * from unmatched_workout_events
    union all
    select * from unmatched_gym_logins
    union all
    select * from unmatched_gym_events
    union all
    select * from logouts_without_a_login
)

select * from unmatched
