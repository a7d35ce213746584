{{ config(materialized='view') }}

with

changes as (
    select * from {{ ref('int_profile_changes') }}
    where not _is_deleted
),

-- One change per user and moment, chosen by content, so that the order of arrival does not show.
resolved as (
    select * except (_is_deleted)
    from changes
    qualify row_number() over (
        partition by user_id, changed_at
        order by
            case change_type when 'delete' then 1 when 'update' then 2 else 3 end,
            payload_sha256
    ) = 1
)

select * from resolved
