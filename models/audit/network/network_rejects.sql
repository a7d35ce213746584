with

rejects as (
    select * from {{ ref('int_connection_rejects') }}
    union all
    select * from {{ ref('int_subscription_rejects') }}
)

select * from rejects
