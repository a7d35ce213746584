{{ config(materialized='view') }}

with

{% set rows = [
    (ref('int_orders'), 'orders', 'customers', 'customer_id', none,
        'the customer of an order is not known'),
    (ref('int_order_items'), 'order_items', 'orders', 'order_id', none,
        'the order of a line is not known'),
    (ref('int_order_items'), 'order_items', 'products', 'product_id', none,
        'the product of a line is not known'),
    (ref('int_refunds'), 'refunds', 'orders', 'order_id', none,
        'the order of a refund is not known'),
    (ref('int_refunds'), 'refunds', 'order_items', 'order_id', 'line',
        'the line of a refund is not known'),
    (ref('int_stock_movements'), 'stock_movements', 'products', 'product_id', none,
        'the product of a movement is not known'),
    (ref('int_clicks_counted'), 'clicks', 'products', 'product_id', none,
        'the product of a click is not known'),
] -%}
referring as (
    {% for relation, entity, refers_to, id, line, reason in rows -%}
    select
        '{{ entity }}' as entity,
        '{{ refers_to }}' as refers_to,
        {{ id }} as id,
        {{ line or 'cast(null as bigint)' }} as line,
        '{{ reason }}' as reason
    from {{ relation }}
    where {{ id }} is not null and not _is_deleted
    {{ 'union all' if not loop.last }}
    {% endfor -%}
)

select
    entity,
    refers_to,
    id,
    line,
    reason,
    count(*) as num_events
from referring
group by entity, refers_to, id, line, reason
