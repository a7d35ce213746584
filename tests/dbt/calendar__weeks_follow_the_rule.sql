{#- Week 1 begins on 1 January, and each later Sunday begins a week; no day is missing. -#}
with

days as (
    select
        *,
        1 + count_if(dayofweek = 1 and dayofyear > 1) over (
            partition by year
            order by date
        ) as counted_week,
        coalesce(datediff(date, lag(date) over (order by date)), 1) as days_since_previous,
        count(*) over () as num_days
    from {{ ref('calendar') }}
)

select *
from days
where
    week <> counted_week
    or days_since_previous <> 1
    or week_part <> concat_ws('-', year(date), counted_week)
    or year <> year(date)
    or date <> date_add(make_date(year, 1, 1), dayofyear - 1)
    or month <> month(date)
    or dayofmonth <> day(date)
    or dayofweek <> weekday(date_add(date, 1)) + 1
    or num_days <> datediff(
        make_date({{ var('wearables_calendar_last_year') }} + 1, 1, 1),
        make_date({{ var('wearables_calendar_first_year') }}, 1, 1)
    )
