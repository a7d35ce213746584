{{ config(
    unique_key=[
        'refund_id', 'order_id', 'line', 'customer_id', 'product_id', 'date', 'region', 'category'
    ],
    partition_by=['date'],
    meta={'range': 'order_id'},
) }}

{% set query %}
    select order_id, line from {{ arrivals(ref('int_refunds')) }}
    union all
    select order_id, line from {{ arrivals(ref('int_order_lines')) }}
{% endset %}
{% do touch(keys=['order_id', 'line'], query=query) %}

with

refunds as (
    select * from {{ only_touched(ref('int_refunds')) }}
    where not _is_deleted
),

lines as (
    select * from {{ only_touched(ref('int_order_lines')) }}
    where not _is_deleted
)

select
    refunds.refund_id,
    refunds.order_id,
    refunds.line,
    lines.customer_id,
    lines.product_id,
    refunds.refunded_at,
    {{ report_date('refunds.refunded_at') }} as date,
    lines.region,
    lines.category,
    refunds.amount,
    {{ technical_columns() }}
from refunds
inner join lines on refunds.order_id = lines.order_id and refunds.line = lines.line
