{% set columns = [
    'movement_id', 'product_id', 'warehouse', 'quantity', 'reason', 'moved_at'
] %}
{{ config(materialized='view') }}

with

known as (
    select * from {{ ref('int_stock_live') }}
),

arrived as (
    select * from known
    where is_arrived
),

-- What silver has of the movements of which something has arrived, which mostly begin late in it.
delivered as (
    select known.*
    from known
    left semi join arrived on known.movement_id = arrived.movement_id
    where
        not known.is_arrived
        and known.movement_id >= (select min(lowest.movement_id) from arrived as lowest)
),

movements as (
    select * from arrived
    union all
    select * from delivered
),

decided as (
    select
        *,
        -- What arrives again is not preferred to what silver has.
        row_number() over (
            partition by movement_id
            order by {{ present_order(columns, 'recorded_at') }}, is_arrived
        ) = 1 as is_present,
        not is_arrived and row_number() over (
            partition by movement_id, is_arrived
            order by {{ present_order(columns, 'recorded_at') }}
        ) = 1 as was_present
    from movements
),

-- What is there now and is not in the balance, and what is in it and is there no more.
changes as (
    select
        *,
        if(is_present, 1, -1) as times
    from decided
    where is_present <> was_present and _status = 'told'
),

balances as (
    select * from known
    where balance is not null
    qualify row_number() over (partition by product_id, warehouse order by _load_id desc) = 1
)

select
    product_id,
    warehouse,
    balance.on_hand,
    balance.movements,
    balance.sales
from balances
union all
select
    product_id,
    warehouse,
    times * quantity as on_hand,
    times as movements,
    array(
        struct(
            {{ report_date('moved_at') }} as date,
            if(reason = 'sale', times * greatest(-quantity, 0), 0) as sold
        )
    ) as sales
from changes
