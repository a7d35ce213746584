{{ config(materialized='view') }}

with

workouts as (
    select * from {{ ref('int_workouts') }}
    where status = 'ended' and not _is_deleted
),

ownerships as (
    select * from {{ ref('int_device_ownerships') }}
    where not _is_deleted
),

wearings as (
    select
        workouts.user_id,
        workouts.workout_id,
        workouts.session_id,
        ownerships.device_id,
        workouts.started_at,
        workouts.ended_at,
        ownerships.valid_from as owned_from,
        ownerships.valid_to as owned_to
    from workouts
    inner join ownerships
        on
            workouts.user_id = ownerships.user_id
            and workouts.started_at < ownerships.valid_to
            and workouts.ended_at >= ownerships.valid_from
),

-- By day, so that readings are joined by device and day, however many workouts a user has.
by_day as (
    select
        *,
        explode(
            sequence(
                cast(greatest(started_at, owned_from) as date),
                cast(least(ended_at, owned_to) as date)
            )
        ) as reading_date
    from wearings
)

select * from by_day
