{{ config(materialized='view') }}

with

versions as (
    select * from {{ ref('stock_level_versions') }}
)

select
    product_id,
    warehouse,
    reorder_point,
    dbt_valid_from as valid_from,
    _load_id
from versions
