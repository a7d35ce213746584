{{ config(incremental_strategy='replace_loads') }}

with

stock_levels as (
    select * from {{ arrivals(ref('stg_retail__stock_levels')) }}
),

stock_movements as (
    select * from {{ arrivals(ref('stg_retail__stock_movements')) }}
),

rejects as (
    {{ rejects_of('stock_levels', 'retail.stock_levels', 'stock_levels', with_fields=true) }}
    union all
    {{ rejects_of('stock_movements', 'retail.stock_movements', 'stock_movements', with_fields=true) }}
)

select * from rejects
