{% set columns = [
    'movement_id', 'product_id', 'warehouse', 'quantity', 'reason', 'moved_at', 'recorded_at',
    '_op', '_pulled_at'
] %}
{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=columns + ['_pull_key', '_pull_id'],
    meta={'range': 'movement_id'},
    skip_matched_step=true,
) }}

{{ rows_delivered(ref('stg_retail__stock_movements'), columns) }}
