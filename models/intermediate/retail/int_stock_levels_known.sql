{{ config(materialized='view') }}

select
    product_id,
    warehouse,
    reorder_point,
    updated_at,
    _pull_id,
    _status,
    false as is_arrived,
    _load_id
from {{ ref('int_stock_levels_delivered') }}
union all
select
    product_id,
    warehouse,
    reorder_point,
    updated_at,
    _pull_id,
    if(reject_reason is not null, 'refused', if(_op = 'delete', 'deleted', 'told')) as _status,
    true as is_arrived,
    _load_id
from {{ ref('stg_retail__stock_levels') }}
where reject_reason is null or _pull_key is not null
