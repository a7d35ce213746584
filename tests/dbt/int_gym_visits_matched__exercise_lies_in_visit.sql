select *
from {{ ref('int_gym_visits_matched') }}
where
    not _is_deleted
    and (
        exercise_started_at < login_at
        or exercise_ended_at > logout_at
        or exercise_started_at >= exercise_ended_at
        or (workout_id is not null) <> (exercise_started_at is not null)
        or (workout_id is not null) <> (exercise_ended_at is not null)
        or (workout_id is not null and (user_id is null or status <> 'closed'))
    )
