{% set columns = [
    'order_id', 'line', 'product_id', 'quantity', 'unit_price', 'updated_at',
    '_op', '_pulled_at'
] %}
{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=columns + ['_pull_key', '_pull_id'],
    meta={'range': 'order_id'},
    skip_matched_step=true,
) }}

{{ rows_delivered(ref('stg_retail__order_items'), columns) }}
