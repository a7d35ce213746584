{{ config(materialized='view') }}

with

{% set tables = [
    (ref('int_customers_delivered'), 'customers', 'customer_id', none),
    (ref('int_products_delivered'), 'products', 'product_id', none),
    (ref('int_orders_delivered'), 'orders', 'order_id', none),
    (ref('int_order_items_delivered'), 'order_items', 'order_id', 'line'),
] -%}
told as (
    {% for delivered, entity, id, line in tables -%}
    select
        '{{ entity }}' as entity,
        {{ id }} as id,
        {{ line or 'cast(null as bigint)' }} as line,
        updated_at as changed_at,
        _pull_id is not null as is_pulled,
        _status = 'told' as is_told
    from {{ delivered }}
    {{ 'union all' if not loop.last }}
    {% endfor -%}
)

select
    entity,
    id,
    line,
    changed_at,
    is_pulled,
    count(*) as num_rows,
    bool_or(is_told) as is_told
from told
group by entity, id, line, changed_at, is_pulled
