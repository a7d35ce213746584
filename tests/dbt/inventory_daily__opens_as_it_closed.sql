{#- A day opens with what the day before closed with, the first with nothing. -#}
with

days as (
    select
        *,
        lag(closing, 1, 0) over (partition by product_id, warehouse order by date) as closing_before
    from {{ ref('inventory_daily') }}
)

select *
from days
where
    opening <> closing_before
    or closing <> opening + received - issued
    or sold > issued
