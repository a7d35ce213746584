{{ config(incremental_strategy='replace_loads') }}

with

messages as (
    select * from {{ arrivals(ref('stg_sbit__messages')) }}
),

profile_changes as (
    select * from {{ arrivals(ref('stg_sbit__profile_changes')) }}
),

workout_events as (
    select * from {{ arrivals(ref('stg_sbit__workout_events')) }}
),

gym_events as (
    select * from {{ arrivals(ref('stg_sbit__gym_events')) }}
),

heart_rates as (
    select * from {{ arrivals(ref('stg_sbit__heart_rates')) }}
),

rejects as (
    {{ rejects_of('messages', 'sbit.kafka_multiplex', 'unknown', with_fields=true) }}
    union all
    {{ rejects_of('profile_changes', 'sbit.kafka_multiplex', 'profile_changes', with_fields=true) }}
    union all
    {{ rejects_of('workout_events', 'sbit.kafka_multiplex', 'workout_events') }}
    union all
    {{ rejects_of('gym_events', 'sbit.kafka_multiplex', 'gym_events') }}
    union all
    {{ rejects_of('heart_rates', 'sbit.kafka_multiplex', 'heart_rates', with_fields=true) }}
)

select * from rejects
