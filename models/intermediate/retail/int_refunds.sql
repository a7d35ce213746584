{% set columns = ['refund_id', 'order_id', 'line', 'quantity', 'amount', 'refunded_at'] %}
{{ config(unique_key=columns, meta={'range': 'refund_id'}) }}

{{ present_rows(
    ref('int_refunds_delivered'),
    key=['refund_id'],
    columns=columns,
    changed_at='recorded_at',
) }}
