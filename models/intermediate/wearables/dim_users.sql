{{ config(materialized='view') }}

with

versions as (
    select * from {{ ref('user_profiles') }}
),

ranged as (
    select
        dbt_scd_id as user_version_id,
        user_id,
        change_type,
        born_on,
        sex,
        gender,
        first_name,
        last_name,
        street_address,
        city,
        state,
        zip,
        changed_at as valid_from,
        coalesce(dbt_valid_to, {{ end_of_time() }}) as valid_to,
        -- What came before the first version is judged by the first version.
        if(is_first_version, {{ beginning_of_time() }}, changed_at) as applies_from,
        is_first_version,
        dbt_valid_to is null as is_current,
        dbt_is_deleted as is_deleted,
        _load_id
    from versions
)

select * from ranged
