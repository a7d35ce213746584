with

heart_rates as (
    select * from {{ ref('stg_sbit__heart_rates') }}
    where reject_reason is null
),

conflicts as (
    select
        'heart_rates' as entity,
        cast(device_id as string) as key,
        reading_at as event_at,
        -- A missing value beside a true one is a conflict too, but `distinct` passes over nulls.
        count(distinct bpm) + max(if(bpm is null, 1, 0)) - 1 as num_conflicts
    from heart_rates
    group by device_id, reading_at
    having num_conflicts > 0
)

select * from conflicts
