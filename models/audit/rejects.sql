with

file_rejects as (
    select * from {{ ref('int_file_rejects') }}
),

message_rejects as (
    select * from {{ ref('int_message_rejects') }}
),

rejects as (
    select * from file_rejects
    union all
    select * from message_rejects
)

select * from rejects
