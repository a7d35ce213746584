{{ config(materialized='view') }}

{{ told_changes(
    ref('int_products_delivered'),
    key=['product_id'],
    content=['name', 'category', 'unit_price'],
    changed_at='updated_at',
) }}
