select *
from {{ ref('gym_visits') }}
where
    minutes_in_gym < 0
    or minutes_exercising < 0
    or minutes_exercising > minutes_in_gym
    or workouts < 0
    or (workouts = 0 and minutes_exercising > 0)
    or (status = 'open') <> (logout_at is null)
    or (status = 'incomplete') <> coalesce(logout_at < login_at, false)
    or (status = 'closed') <> (minutes_in_gym is not null)
    or (status = 'closed') <> (minutes_exercising is not null)
