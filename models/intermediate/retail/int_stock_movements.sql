{% set columns = [
    'movement_id', 'product_id', 'warehouse', 'quantity', 'reason', 'moved_at'
] %}
{{ config(unique_key=columns, meta={'range': 'movement_id'}) }}

{{ present_rows(
    ref('int_stock_movements_delivered'),
    key=['movement_id'],
    columns=columns,
    changed_at='recorded_at',
) }}
