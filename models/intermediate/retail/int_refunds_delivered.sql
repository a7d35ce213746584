{% set columns = [
    'refund_id', 'order_id', 'line', 'quantity', 'amount', 'refunded_at', 'recorded_at',
    '_op', '_pulled_at'
] %}
{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=columns + ['_pull_key', '_pull_id'],
    meta={'range': 'refund_id'},
    skip_matched_step=true,
) }}

{{ rows_delivered(ref('stg_retail__refunds'), columns) }}
