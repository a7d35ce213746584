{{ config(materialized='view') }}

{{ told_changes(
    ref('int_customers_delivered'),
    key=['customer_id'],
    content=['name', 'email', 'region'],
    changed_at='updated_at',
) }}
