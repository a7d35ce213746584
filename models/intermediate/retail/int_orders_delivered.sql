{% set columns = [
    'order_id', 'customer_id', 'status', 'ordered_at', 'updated_at',
    '_op', '_pulled_at'
] %}
{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=columns + ['_pull_key', '_pull_id'],
    meta={'range': 'order_id'},
    skip_matched_step=true,
) }}

{{ rows_delivered(ref('stg_retail__orders'), columns) }}
