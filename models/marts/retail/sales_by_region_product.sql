{{ config(
    unique_key=['date', 'region', 'product_id', 'category'],
    partition_by=['date'],
    meta={'layout': 'date'},
) }}

{% set lines, refunds = ref('int_order_lines'), ref('int_refunds_counted') %}
{% set keys = ['date', 'region', 'product_id', 'category'] %}
{% set query %}
    select {{ keys | join(', ') }} from {{ arrivals(lines) }}
    union all
    select {{ keys | join(', ') }} from {{ arrivals(refunds) }}
{% endset %}
{% do touch(keys=keys, query=query) %}

with

moved as (
    select
        {{ keys | join(',\n        ') }},
        order_id as sold_in,
        quantity,
        gross_sales,
        0 as refunded,
        is_priced
    from {{ only_touched(lines) }}
    where not _is_deleted
    union all
    select
        {{ keys | join(',\n        ') }},
        null as sold_in,
        0 as quantity,
        0 as gross_sales,
        amount as refunded,
        true as is_priced
    from {{ only_touched(refunds) }}
    where not _is_deleted
)

select
    {{ keys | join(',\n    ') }},
    count(distinct sold_in) as orders,
    sum(quantity) as units,
    cast(sum(gross_sales) as decimal(18, 2)) as gross_sales,
    cast(sum(refunded) as decimal(18, 2)) as refunds,
    cast(sum(gross_sales - refunded) as decimal(18, 2)) as net_sales,
    count_if(not is_priced) as lines_without_price
from moved
group by {{ keys | join(', ') }}
