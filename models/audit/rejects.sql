with

file_rejects as (
    select * from {{ ref('int_file_rejects') }}
),

message_rejects as (
    select * from {{ ref('int_message_rejects') }}
),

connection_rejects as (
    select * from {{ ref('int_connection_rejects') }}
),

subscription_rejects as (
    select * from {{ ref('int_subscription_rejects') }}
),

rejects as (
    select * from file_rejects
    union all
    select * from message_rejects
    union all
    select * from connection_rejects
    union all
    select * from subscription_rejects
)

select * from rejects
