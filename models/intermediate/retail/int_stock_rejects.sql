{{ config(incremental_strategy='replace_loads') }}

with

levels as (
    select * from {{ arrivals(ref('stg_retail__stock_levels')) }}
),

movements as (
    select * from {{ arrivals(ref('stg_retail__stock_movements')) }}
),

rejects as (
    {{ rejects_of('levels', 'retail.stock_levels', 'stock_levels', with_fields=true) }}
    union all
    {{ rejects_of('movements', 'retail.stock_movements', 'stock_movements', with_fields=true) }}
)

select * from rejects
