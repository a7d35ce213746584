with

connections as (
    select * from {{ ref('int_connections') }}
),

conflicts as (
    select
        'connections' as entity,
        cast(device_id as string) as key,
        event_at,
        count(*) - count(distinct server_id, session_id, event_id, event_type) as num_conflicts
    from connections
    group by device_id, event_at
    having num_conflicts > 0
)

select * from conflicts
