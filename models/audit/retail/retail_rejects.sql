with

rejects as (
    select * from {{ ref('int_shop_rejects') }}
    union all
    select * from {{ ref('int_stock_rejects') }}
    union all
    select * from {{ ref('int_click_rejects') }}
)

select * from rejects
