{{ config(materialized='view') }}

with

versions as (
    select * from {{ ref('stock_level_versions') }}
),

ranged as (
    select
        product_id,
        warehouse,
        reorder_point,
        dbt_valid_from as valid_from,
        coalesce(dbt_valid_to, {{ end_of_time() }}) as valid_to,
        _load_id
    from versions
)

select * from ranged
