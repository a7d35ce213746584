{{ config(materialized='view') }}

with

balances as (
    select
        product_id,
        warehouse,
        cast(null as bigint) as movement_id,
        cast(null as bigint) as quantity,
        cast(null as string) as reason,
        cast(null as timestamp) as moved_at,
        cast(null as timestamp) as recorded_at,
        cast(null as bigint) as _pull_id,
        cast(null as string) as _status,
        struct(on_hand, movements, sales) as balance,
        false as is_arrived,
        _load_id
    from {{ ref('int_stock_balances') }}
),

delivered as (
    select
        product_id,
        warehouse,
        movement_id,
        quantity,
        reason,
        moved_at,
        recorded_at,
        _pull_id,
        _status,
        null as balance,
        false as is_arrived,
        _load_id
    from {{ ref('int_stock_movements_delivered') }}
),

staged as (
    select
        product_id,
        warehouse,
        movement_id,
        quantity,
        reason,
        moved_at,
        recorded_at,
        _pull_id,
        if(reject_reason is not null, 'refused', if(_op = 'delete', 'deleted', 'told')) as _status,
        null as balance,
        true as is_arrived,
        _load_id
    from {{ ref('stg_retail__stock_movements') }}
    where reject_reason is null or _pull_key is not null
)

select * from balances
union all
select * from delivered
union all
select * from staged
