with

heart_rates as (
    select * from {{ ref('stg_sbit__heart_rates') }}
    where reject_reason is null
),

connections as (
    select * from {{ ref('int_connections') }}
),

heart_rate_conflicts as (
    select
        'heart_rates' as entity,
        device_id,
        reading_at as event_at,
        -- A missing value beside a true one is a conflict too, but `distinct` passes over nulls.
        count(distinct bpm) + max(if(bpm is null, 1, 0)) - 1 as num_conflicts
    from heart_rates
    group by device_id, reading_at
    having num_conflicts > 0
),

connection_conflicts as (
    select
        'connections' as entity,
        device_id,
        event_at,
        count(*) - count(distinct server_id, session_id, event_id, event_type) as num_conflicts
    from connections
    group by device_id, event_at
    having num_conflicts > 0
),

conflicts as (
    select * from heart_rate_conflicts
    union all
    select * from connection_conflicts
)

select * from conflicts
