{{ config(materialized='view') }}

{{ told_changes(
    ref('int_stock_levels_delivered'),
    key=['product_id', 'warehouse'],
    content=['reorder_point'],
    changed_at='updated_at',
) }}
