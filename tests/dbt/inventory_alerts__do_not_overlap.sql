{#- An alert closes before the next one opens, and only the last may be open. -#}
with

alerts as (
    select
        *,
        lead(opened_at) over (
            partition by product_id, warehouse
            order by opened_at
        ) as next_opened_at
    from {{ ref('inventory_alerts') }}
)

select *
from alerts
where
    opened_at >= closed_at
    or next_opened_at <= closed_at
    or (closed_at is null and next_opened_at is not null)
    or on_hand > reorder_point
