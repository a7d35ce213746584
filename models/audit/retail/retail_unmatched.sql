with

-- Of a key that any pull has told, files tell nothing.
known as (
    select
        entity,
        id,
        line
    from {{ ref('int_shop_rows_told') }}
    group by entity, id, line
    having max_by(is_told, struct(is_pulled, is_told))
),

orders as (
    select * from known
    where entity = 'orders'
),

missing as (
    select referring.*
    from {{ ref('int_shop_references') }} as referring
    left anti join known
        on
            referring.refers_to = known.entity
            and referring.id = known.id
            and referring.line <=> known.line
),

unmatched as (
    select
        concat('retail.', entity) as source,
        entity,
        reason,
        concat_ws('-', id, line) as key,
        num_events
    from missing
    -- A line of an order that is not known waits for the order.
    where
        refers_to <> 'order_items'
        or id in (select orders.id from orders)
)

select * from unmatched
