{% set columns = ['order_id', 'customer_id', 'status', 'ordered_at'] %}
{{ config(unique_key=columns, meta={'range': 'order_id'}) }}

{{ present_rows(
    ref('int_orders_delivered'),
    key=['order_id'],
    columns=columns,
    changed_at='updated_at',
) }}
