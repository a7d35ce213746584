select * from {{ ref('int_entries') }}
where amount < 0 and not _is_deleted
