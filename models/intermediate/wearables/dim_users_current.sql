{{ config(materialized='view') }}

with

users as (
    select * from {{ ref('dim_users') }}
),

living as (
    select
        user_id,
        born_on,
        sex,
        gender,
        first_name,
        last_name,
        street_address,
        city,
        state,
        zip,
        valid_from
    from users
    where is_current and not is_deleted
)

select * from living
