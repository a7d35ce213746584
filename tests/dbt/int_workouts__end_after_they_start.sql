select *
from {{ ref('int_workouts') }}
where
    not _is_deleted
    and (
        (status = 'ended') <> (ended_at is not null)
        or (ended_at is not null and started_at is null)
        or ended_at <= started_at
    )
