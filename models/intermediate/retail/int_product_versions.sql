{{ config(materialized='view') }}

with

versions as (
    select * from {{ ref('product_versions') }}
),

ranged as (
    select
        product_id,
        category,
        unit_price,
        -- What came before the first version is judged by the first version.
        if(is_first_version, {{ beginning_of_time() }}, dbt_valid_from) as valid_from,
        coalesce(dbt_valid_to, {{ end_of_time() }}) as valid_to,
        _load_id
    from versions
)

select * from ranged
