{{ config(materialized='view') }}

with

versions as (
    select * from {{ ref('customer_versions') }}
),

ranged as (
    select
        customer_id,
        region,
        -- What came before the first version is judged by the first version.
        if(is_first_version, {{ beginning_of_time() }}, dbt_valid_from) as valid_from,
        coalesce(dbt_valid_to, {{ end_of_time() }}) as valid_to,
        dbt_is_deleted as is_deleted,
        _load_id
    from versions
)

select * from ranged
