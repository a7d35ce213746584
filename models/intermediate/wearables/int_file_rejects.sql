{{ config(incremental_strategy='replace_loads') }}

with

registrations as (
    select * from {{ arrivals(ref('stg_sbit__registrations')) }}
),

gym_logins as (
    select * from {{ arrivals(ref('stg_sbit__gym_logins')) }}
),

rejects as (
    {{ rejects_of('registrations', 'sbit.registered_users', 'registrations') }}
    union all
    {{ rejects_of('gym_logins', 'sbit.gym_logins', 'gym_logins', with_fields=true) }}
)

select * from rejects
