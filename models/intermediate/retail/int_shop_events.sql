{{ config(materialized='view') }}

with

orders as (
    select * from {{ ref('int_orders_delivered') }}
    where _status = 'told'
),

refunds as (
    select * from {{ ref('int_refunds_delivered') }}
    where _status = 'told'
),

stock_movements as (
    select * from {{ ref('int_stock_movements_delivered') }}
    where _status = 'told'
),

clicks as (
    select * from {{ ref('int_clicks') }}
),

events as (
    select
        ordered_at as event_at,
        _load_id
    from orders
    union distinct
    select
        refunded_at as event_at,
        _load_id
    from refunds
    union distinct
    select
        moved_at as event_at,
        _load_id
    from stock_movements
    union distinct
    select
        clicked_at as event_at,
        _load_id
    from clicks
)

select * from events
