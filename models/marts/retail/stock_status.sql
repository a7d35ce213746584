{{ config(
    schema='gold',
    materialized='view',
    persist_docs={'relation': true, 'columns': true},
    meta={'since': 'as_of - interval ' ~ var('max_clock_skew_seconds') ~ ' second'},
) }}

with

closed as (
    select max(recorded_at) as ended_at from {{ ref('int_shop_loads_closed') }}
),

now as (
    select
        max(events.event_at) as as_of,
        {{ report_date('max(events.event_at)') }} as today
    from {{ ref('int_shop_events_live') }} as events
    inner join closed on events.event_at <= closed.ended_at
),

levels as (
    select * from {{ ref('int_stock_levels_live') }}
    qualify row_number() over (
        partition by product_id, warehouse
        order by {{ present_order(['product_id', 'warehouse', 'reorder_point'], 'updated_at') }}
    ) = 1
),

-- All that is known of a stock: balances, what has changed of them, and levels.
known as (
    select
        product_id,
        warehouse,
        on_hand,
        movements,
        sales,
        null as reorder_point,
        0 as levels
    from {{ ref('int_stock_balances_live') }}
    union all
    select
        product_id,
        warehouse,
        0 as on_hand,
        0 as movements,
        null as sales,
        reorder_point,
        1 as levels
    from levels
    where _status = 'told'
),

stocks as (
    select
        known.product_id,
        known.warehouse,
        now.as_of,
        if(sum(known.movements) > 0, sum(known.on_hand), null) as on_hand,
        max(known.reorder_point) as reorder_point,
        -- In the whole days before.
        sum(
            aggregate(
                known.sales,
                cast(0 as bigint),
                (sold, day) -> sold + if(
                    datediff(now.today, day.date) between 1 and {{ var('retail_cover_days') }},
                    day.sold,
                    0
                )
            )
        ) as sold
    from known
    cross join now
    group by known.product_id, known.warehouse, now.as_of
    having sum(known.movements) > 0 or sum(known.levels) > 0
)

select
    product_id,
    warehouse,
    as_of,
    on_hand,
    reorder_point,
    on_hand <= reorder_point as is_low,
    cast(on_hand * {{ var('retail_cover_days') }} as double) / nullif(sold, 0) as days_of_cover
from stocks
