{{ config(materialized='view') }}

with

changes as (
    select
        product_id,
        warehouse,
        moved_at as changed_at,
        quantity,
        cast(null as struct<reorder_point: bigint>) as point
    from {{ ref('int_stock_movements') }}
    where not _is_deleted
    union all
    select
        product_id,
        warehouse,
        valid_from as changed_at,
        null as quantity,
        struct(reorder_point) as point
    from {{ ref('int_reorder_points') }}
),

-- All that changes at one instant is in the sum of each of them: a window by value has its peers.
stocks as (
    select
        product_id,
        warehouse,
        changed_at,
        sum(quantity) over so_far as on_hand,
        -- That there is no point any more is known, too.
        last_value(point, true) over so_far as point
    from changes
    window so_far as (partition by product_id, warehouse order by changed_at)
),

judged as (
    select
        *,
        coalesce(on_hand <= point.reorder_point, false) as is_low
    from stocks
),

turns as (
    select * from judged
    qualify is_low <> lag(is_low, 1, false) over (
        partition by product_id, warehouse
        order by changed_at
    )
),

lows as (
    select
        product_id,
        warehouse,
        changed_at as opened_at,
        on_hand,
        point.reorder_point,
        lead(changed_at) over (
            partition by product_id, warehouse
            order by changed_at
        ) as closed_at
    from turns
    qualify is_low
)

select * from lows
