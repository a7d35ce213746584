with

rejects as (
    select * from {{ ref('int_file_rejects') }}
    union all
    select * from {{ ref('int_message_rejects') }}
)

select * from rejects
