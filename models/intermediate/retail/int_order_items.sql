{% set columns = ['order_id', 'line', 'product_id', 'quantity', 'unit_price'] %}
{{ config(unique_key=columns, meta={'range': 'order_id'}) }}

{{ present_rows(
    ref('int_order_items_delivered'),
    key=['order_id', 'line'],
    columns=columns,
    changed_at='updated_at',
) }}
