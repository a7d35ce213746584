{{ config(
    unique_key=['order_id', 'line', 'customer_id', 'product_id', 'date', 'region', 'category'],
    partition_by=['date'],
    meta={'range': 'order_id'},
) }}

{% set moment = ['ordered_at', 'ordered_at + interval 1 microsecond'] %}
{% set query %}
    select order_id from {{ arrivals(ref('int_orders')) }}
    union all
    select order_id from {{ arrivals(ref('int_order_items')) }}
    union all
    {{ rows_of_changed(ref('int_customer_versions'), 'customer_id', ['order_id'], *moment) }}
    union all
    {{ rows_of_changed(ref('int_product_versions'), 'product_id', ['order_id'], *moment) }}
{% endset %}
{% do touch(keys=['order_id'], query=query) %}

with

orders as (
    select * from {{ only_touched(ref('int_orders')) }}
    where status <> 'cancelled' and not _is_deleted
),

items as (
    select * from {{ only_touched(ref('int_order_items')) }}
    where not _is_deleted
),

customers as (
    select * from {{ ref('int_customer_versions') }}
),

products as (
    select * from {{ ref('int_product_versions') }}
),

priced as (
    select
        items.order_id,
        items.line,
        orders.customer_id,
        items.product_id,
        orders.ordered_at,
        {{ report_date('orders.ordered_at') }} as date,
        coalesce(customers.region, 'unknown') as region,
        coalesce(products.category, 'unknown') as category,
        items.quantity,
        coalesce(items.unit_price, {{ price_of('products.unit_price', 'items.quantity') }})
            as unit_price
    from items
    inner join orders on items.order_id = orders.order_id
    left join customers
        on
            orders.customer_id = customers.customer_id
            and orders.ordered_at >= customers.valid_from
            and orders.ordered_at < customers.valid_to
    left join products
        on
            items.product_id = products.product_id
            and orders.ordered_at >= products.valid_from
            and orders.ordered_at < products.valid_to
)

select
    * except (unit_price),
    cast(cast(quantity as decimal(18, 0)) * coalesce(unit_price, 0) as decimal(18, 2))
        as gross_sales,
    unit_price is not null as is_priced,
    {{ technical_columns() }}
from priced
