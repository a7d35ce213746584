{{ config(
    unique_key=['product_id', 'warehouse', 'date'],
    partition_by=['date'],
    meta={'layout': 'date'},
) }}

{% set days = ref('int_stock_days') %}
{#- What moved on a day is in what all later ones opened with. -#}
{% set query %}
    select
        days.product_id,
        days.warehouse,
        days.date
    from {{ days }} as days
    inner join (
        select
            product_id,
            warehouse,
            min(date) as date
        from {{ arrivals(days) }}
        group by product_id, warehouse
    ) as changed
        on
            days.product_id = changed.product_id
            and days.warehouse = changed.warehouse
            and days.date >= changed.date
{% endset %}
{% do touch(keys=['product_id', 'warehouse', 'date'], query=query) %}

with

days as (
    select
        *,
        sum(received - issued) over (
            partition by product_id, warehouse
            order by date
        ) as closing
    from {{ days }}
    where not _is_deleted
)

select
    product_id,
    warehouse,
    date,
    closing - received + issued as opening,
    received,
    issued,
    sold,
    closing
from {{ only_touched('days') }}
