{{ config(incremental_strategy='replace_loads') }}

with

customers as (
    select * from {{ arrivals(ref('stg_retail__customers')) }}
),

products as (
    select * from {{ arrivals(ref('stg_retail__products')) }}
),

orders as (
    select * from {{ arrivals(ref('stg_retail__orders')) }}
),

order_items as (
    select * from {{ arrivals(ref('stg_retail__order_items')) }}
),

refunds as (
    select * from {{ arrivals(ref('stg_retail__refunds')) }}
),

rejects as (
    {{ rejects_of('customers', 'retail.customers', 'customers', with_fields=true) }}
    union all
    {{ rejects_of('products', 'retail.products', 'products', with_fields=true) }}
    union all
    {{ rejects_of('orders', 'retail.orders', 'orders', with_fields=true) }}
    union all
    {{ rejects_of('order_items', 'retail.order_items', 'order_items', with_fields=true) }}
    union all
    {{ rejects_of('refunds', 'retail.refunds', 'refunds', with_fields=true) }}
)

select * from rejects
