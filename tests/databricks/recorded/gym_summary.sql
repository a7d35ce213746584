-- the first build

create or replace table `main_test`.`gold_build`.`gym_summary`
    using delta
      as
    select gym, mac_address, date, minutes_in_gym, minutes_exercising, user_id, visits, open_visits, workouts
    from (
        with
dated as (
    select
        *,
        cast(from_utc_timestamp(login_at, 'UTC') as date) as date
    from `main_test`.`silver`.`int_gym_visits_matched`
    where not _is_deleted
),
matched as (
    select * from dated
),
visits as (
    select distinct
        gym,
        mac_address,
        date,
        login_at,
        logout_at,
        status,
        user_id
    from matched
),
time_in_gym as (
    select
        *,
        if(
            status = 'closed',
            greatest(
        unix_micros(logout_at) - greatest(
            unix_micros(login_at),
            coalesce(
                max(unix_micros(logout_at)) over (
                    partition by gym, mac_address, date, status
                    order by login_at, logout_at
                    rows between unbounded preceding and 1 preceding
                ),
                unix_micros(login_at)
            )
        ),
        0
    ),
            null
        ) as gym_micros
    from visits
),
time_exercising as (
    select
        *,
        greatest(
        unix_micros(exercise_ended_at) - greatest(
            unix_micros(exercise_started_at),
            coalesce(
                max(unix_micros(exercise_ended_at)) over (
                    partition by gym, mac_address, date
                    order by exercise_started_at, exercise_ended_at
                    rows between unbounded preceding and 1 preceding
                ),
                unix_micros(exercise_started_at)
            )
        ),
        0
    ) as exercise_micros
    from matched
    where workout_id is not null
),
exercises as (
    select
        gym,
        mac_address,
        date,
        sum(exercise_micros) as exercise_micros,
        count(distinct user_id, workout_id, session_id) as workouts
    from time_exercising
    group by gym, mac_address, date
),
stays as (
    select
        gym,
        mac_address,
        date,
        sum(gym_micros) as gym_micros,
        max_by(user_id, login_at) as user_id,
        count(*) as visits,
        count_if(status = 'open') as open_visits
    from time_in_gym
    group by gym, mac_address, date
)
select
    stays.gym,
    stays.mac_address,
    stays.date,
    cast(round(cast(stays.gym_micros as decimal(38, 0)) / 60000000, 2) as decimal(18, 2)) as minutes_in_gym,
    if(
        stays.gym_micros is null,
        null,
        cast(round(cast(coalesce(exercises.exercise_micros, 0) as decimal(38, 0)) / 60000000, 2) as decimal(18, 2))
    ) as minutes_exercising,
    stays.user_id,
    stays.visits,
    stays.open_visits,
    coalesce(exercises.workouts, 0) as workouts
from stays
left join exercises
    on
        stays.gym = exercises.gym
        and stays.mac_address = exercises.mac_address
        and stays.date = exercises.date
    ) as model_subq;

alter table `main_test`.`gold_build`.`gym_summary` alter column gym comment 'The gym.', mac_address comment 'The mac address of the watch.', date comment 'The date of the login in the time zone of the reports.', minutes_in_gym comment 'Minutes in the gym, overlapping visits once; null if no visit is closed.', minutes_exercising comment 'Minutes of the owner\'s workouts inside these visits, overlaps once; null if no visit is closed.', user_id comment 'The owner of the mac address at the last login of the date; null if it is not registered.', visits comment 'All visits, open ones too.', open_visits comment 'Visits without a logout.', workouts comment 'Workout sessions that overlap the visits.';

-- a later build

select case
        when gym is null then concat('cast(null as ', typeof(gym), ')')
        else concat(
            'cast(\'',
            replace(replace(cast(gym as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof(gym), ')'
        )
    end as gym, case
        when mac_address is null then concat('cast(null as ', typeof(mac_address), ')')
        else concat(
            'cast(\'',
            replace(replace(cast(mac_address as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof(mac_address), ')'
        )
    end as mac_address, case
        when date is null then concat('cast(null as ', typeof(date), ')')
        else concat(
            'cast(\'',
            replace(replace(cast(date as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof(date), ')'
        )
    end as date
                from (select distinct gym, mac_address, date from (
    select gym, mac_address, cast(from_utc_timestamp(login_at, 'UTC') as date) as date
    from (
        select *
        from `main_test`.`silver`.`int_gym_visits_matched`
        where
            _load_id <= 2
            and _load_id > 1
    )
))
                limit 1001;

create or replace temporary view `gym_summary__dbt_tmp` as
      with
dated as (
    select
        *,
        cast(from_utc_timestamp(login_at, 'UTC') as date) as date
    from `main_test`.`silver`.`int_gym_visits_matched`
    where not _is_deleted
),
matched as (
    select * from (
            select relation_touched.*
            from dated as relation_touched
            left semi join (
            select col1 as gym, col2 as mac_address, col3 as date
            from values
                (cast('7' as bigint), cast('k' as string), cast('2026-03-02' as date))
        ) as touched
                on relation_touched.gym <=> touched.gym and relation_touched.mac_address <=> touched.mac_address and relation_touched.date <=> touched.date
            where
            relation_touched.gym in (cast('7' as bigint))
             and relation_touched.mac_address in (cast('k' as string))
             and relation_touched.date in (cast('2026-03-02' as date))
        )
),
visits as (
    select distinct
        gym,
        mac_address,
        date,
        login_at,
        logout_at,
        status,
        user_id
    from matched
),
time_in_gym as (
    select
        *,
        if(
            status = 'closed',
            greatest(
        unix_micros(logout_at) - greatest(
            unix_micros(login_at),
            coalesce(
                max(unix_micros(logout_at)) over (
                    partition by gym, mac_address, date, status
                    order by login_at, logout_at
                    rows between unbounded preceding and 1 preceding
                ),
                unix_micros(login_at)
            )
        ),
        0
    ),
            null
        ) as gym_micros
    from visits
),
time_exercising as (
    select
        *,
        greatest(
        unix_micros(exercise_ended_at) - greatest(
            unix_micros(exercise_started_at),
            coalesce(
                max(unix_micros(exercise_ended_at)) over (
                    partition by gym, mac_address, date
                    order by exercise_started_at, exercise_ended_at
                    rows between unbounded preceding and 1 preceding
                ),
                unix_micros(exercise_started_at)
            )
        ),
        0
    ) as exercise_micros
    from matched
    where workout_id is not null
),
exercises as (
    select
        gym,
        mac_address,
        date,
        sum(exercise_micros) as exercise_micros,
        count(distinct user_id, workout_id, session_id) as workouts
    from time_exercising
    group by gym, mac_address, date
),
stays as (
    select
        gym,
        mac_address,
        date,
        sum(gym_micros) as gym_micros,
        max_by(user_id, login_at) as user_id,
        count(*) as visits,
        count_if(status = 'open') as open_visits
    from time_in_gym
    group by gym, mac_address, date
)
select
    stays.gym,
    stays.mac_address,
    stays.date,
    cast(round(cast(stays.gym_micros as decimal(38, 0)) / 60000000, 2) as decimal(18, 2)) as minutes_in_gym,
    if(
        stays.gym_micros is null,
        null,
        cast(round(cast(coalesce(exercises.exercise_micros, 0) as decimal(38, 0)) / 60000000, 2) as decimal(18, 2))
    ) as minutes_exercising,
    stays.user_id,
    stays.visits,
    stays.open_visits,
    coalesce(exercises.workouts, 0) as workouts
from stays
left join exercises
    on
        stays.gym = exercises.gym
        and stays.mac_address = exercises.mac_address
        and stays.date = exercises.date;

merge into `main_test`.`gold_build`.`gym_summary` as target
    using (
        select
            coalesce(worked_out.gym, existing.gym) as gym,
            coalesce(worked_out.mac_address, existing.mac_address) as mac_address,
            coalesce(worked_out.date, existing.date) as date,
            worked_out.minutes_in_gym,
            worked_out.minutes_exercising,
            worked_out.user_id,
            worked_out.visits,
            worked_out.open_visits,
            worked_out.workouts,
            worked_out._is_worked_out is null as _is_removed
        from (select *, true as _is_worked_out from `gym_summary__dbt_tmp`) as worked_out
        full outer join (
            select gym, mac_address, date
            from (
            select relation_touched.*
            from `main_test`.`gold_build`.`gym_summary` as relation_touched
            left semi join (
            select col1 as gym, col2 as mac_address, col3 as date
            from values
                (cast('7' as bigint), cast('k' as string), cast('2026-03-02' as date))
        ) as touched
                on relation_touched.gym <=> touched.gym and relation_touched.mac_address <=> touched.mac_address and relation_touched.date <=> touched.date
            where
            relation_touched.gym in (cast('7' as bigint))
             and relation_touched.mac_address in (cast('k' as string))
             and relation_touched.date in (cast('2026-03-02' as date))
        )
        ) as existing
            on worked_out.gym <=> existing.gym and worked_out.mac_address <=> existing.mac_address and worked_out.date <=> existing.date
    ) as source
    on
        source.gym <=> target.gym and source.mac_address <=> target.mac_address and source.date <=> target.date
        and
            target.gym in (cast('7' as bigint))
             and target.mac_address in (cast('k' as string))
             and target.date in (cast('2026-03-02' as date))
    when matched and source._is_removed then delete
    when matched
        and not source._is_removed
        and (not (source.minutes_in_gym <=> target.minutes_in_gym) or not (source.minutes_exercising <=> target.minutes_exercising) or not (source.user_id <=> target.user_id) or not (source.visits <=> target.visits) or not (source.open_visits <=> target.open_visits) or not (source.workouts <=> target.workouts))
        then update set
            target.gym = source.gym, target.mac_address = source.mac_address, target.date = source.date, target.minutes_in_gym = source.minutes_in_gym, target.minutes_exercising = source.minutes_exercising, target.user_id = source.user_id, target.visits = source.visits, target.open_visits = source.open_visits, target.workouts = source.workouts
    when not matched and not source._is_removed then insert
        (gym, mac_address, date, minutes_in_gym, minutes_exercising, user_id, visits, open_visits, workouts)
        values (source.gym, source.mac_address, source.date, source.minutes_in_gym, source.minutes_exercising, source.user_id, source.visits, source.open_visits, source.workouts);
