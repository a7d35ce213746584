{{ config(unique_key=['product_id', 'warehouse', 'opened_at']) }}

{% set query %}
    select product_id, warehouse from {{ arrivals(ref('int_stock_movements')) }}
    union all
    select product_id, warehouse from {{ arrivals(ref('int_reorder_points')) }}
{% endset %}
{% do touch(keys=['product_id', 'warehouse'], query=query) %}

with

lows as (
    select
        *,
        {{ report_date('opened_at') }} as opened_on
    from {{ only_touched(ref('int_stock_lows')) }}
),

days as (
    select * from {{ only_touched(ref('int_stock_days')) }}
    where not _is_deleted
),

-- In the whole days before.
sales as (
    select
        lows.product_id,
        lows.warehouse,
        lows.opened_at,
        sum(days.sold) as sold
    from lows
    inner join days
        on
            lows.product_id = days.product_id
            and lows.warehouse = days.warehouse
            and lows.opened_on > days.date
            and lows.opened_on <= days.date + interval {{ var('retail_cover_days') }} day
    group by lows.product_id, lows.warehouse, lows.opened_at
)

select
    lows.product_id,
    lows.warehouse,
    lows.opened_at,
    lows.on_hand,
    lows.reorder_point,
    lows.closed_at,
    cast(lows.on_hand * {{ var('retail_cover_days') }} as double) / nullif(sales.sold, 0)
        as days_of_cover
from lows
left join sales
    on
        lows.product_id = sales.product_id
        and lows.warehouse = sales.warehouse
        and lows.opened_at = sales.opened_at
