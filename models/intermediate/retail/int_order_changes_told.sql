{{ config(materialized='view') }}

{{ told_changes(
    ref('int_orders_delivered'),
    key=['order_id'],
    content=['customer_id', 'status', 'ordered_at'],
    changed_at='updated_at',
) }}
