{{ config(materialized='view') }}

with

days as (
    select
        explode(
            sequence(
                make_date({{ var('wearables_calendar_first_year') }}, 1, 1),
                make_date({{ var('wearables_calendar_last_year') }}, 12, 31)
            )
        ) as date
),

-- Weeks start on Sunday; week 1 is the one of 1 January, however short.
numbered as (
    select
        date,
        day(date) as dayofmonth,
        dayofweek(date) as dayofweek,
        dayofyear(date) as dayofyear,
        month(date) as month,
        (dayofyear(date) + dayofweek(trunc(date, 'year')) - 2) div 7 + 1 as week,
        year(date) as year
    from days
)

select
    *,
    concat(year, '-', week) as week_part
from numbered
