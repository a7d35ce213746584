{{ config(unique_key=['customer_id']) }}

{% set orders, lines = ref('int_orders'), ref('int_order_lines') %}
{% set refunds = ref('int_refunds_counted') %}
{% set query %}
    select customer_id from {{ arrivals(orders) }}
    where customer_id is not null
    union all
    select customer_id from {{ arrivals(lines) }}
    where customer_id is not null
    union all
    select customer_id from {{ arrivals(refunds) }}
    where customer_id is not null
{% endset %}
{% do touch(keys=['customer_id'], query=query) %}

with

orders as (
    select
        customer_id,
        if(status <> 'cancelled', {{ report_date('ordered_at') }}, null) as counted_on
    from {{ only_touched(orders) }}
    where customer_id is not null and not _is_deleted
),

ordered as (
    select
        customer_id,
        count(counted_on) as frequency,
        count(distinct counted_on) as order_days,
        min(counted_on) as first_ordered_on,
        max(counted_on) as last_ordered_on
    from orders
    group by customer_id
),

sums as (
    select
        customer_id,
        gross_sales as amount
    from {{ only_touched(lines) }}
    where not _is_deleted
    union all
    select
        customer_id,
        -amount as amount
    from {{ only_touched(refunds) }}
    where not _is_deleted
),

netted as (
    select
        customer_id,
        sum(amount) as amount
    from sums
    group by customer_id
)

select
    ordered.*,
    cast(coalesce(netted.amount, 0) as decimal(18, 2)) as monetary,
    {{ technical_columns() }}
from ordered
left join netted on ordered.customer_id = netted.customer_id
