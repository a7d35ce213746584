{#-
  Every visit counts once, and time in overlapping visits once: no less than the longest visit, no more
  than their sum. Dates whose visits have changed since the mart last looked are left out.
-#}
with

summary as (
    select * from {{ ref('gym_summary') }}
),

visits as (
    select
        gym,
        mac_address,
        {{ report_date('login_at') }} as date,
        login_at,
        bool_or(not _is_deleted) as is_there,
        max_by(logout_at, not _is_deleted) as logout_at,
        max_by(status, not _is_deleted) as status,
        max(_load_id) as load_id
    from {{ ref('int_gym_visits_matched') }}
    group by gym, mac_address, login_at
),

timed as (
    select
        *,
        if(
            is_there and status = 'closed',
            (unix_micros(logout_at) - unix_micros(login_at)) / 60000000.0,
            null
        ) as closed_minutes
    from visits
),

expected as (
    select
        gym,
        mac_address,
        date,
        count_if(is_there) as visits,
        count_if(is_there and status = 'open') as open_visits,
        max(closed_minutes) as longest_minutes,
        sum(closed_minutes) as total_minutes,
        max(load_id) as load_id
    from timed
    group by gym, mac_address, date
)

select
    expected.*,
    summary.minutes_in_gym,
    summary.minutes_exercising
from expected
full outer join summary
    on
        expected.gym = summary.gym
        and expected.mac_address = summary.mac_address
        and expected.date = summary.date
where
    coalesce(expected.load_id, 0) <= {{ cut() }}
    and (
        coalesce(expected.visits, 0) <> coalesce(summary.visits, 0)
        or coalesce(expected.open_visits, 0) <> coalesce(summary.open_visits, 0)
        or (expected.total_minutes is null) <> (summary.minutes_in_gym is null)
        -- Minutes are rounded to two decimals.
        or summary.minutes_in_gym < expected.longest_minutes - 0.005
        or summary.minutes_in_gym > expected.total_minutes + 0.005
        or summary.minutes_exercising < 0
        or summary.minutes_exercising > summary.minutes_in_gym
        or (summary.minutes_exercising is null) <> (summary.minutes_in_gym is null)
    )
