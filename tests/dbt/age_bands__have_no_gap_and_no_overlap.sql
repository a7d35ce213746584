with

bands as (
    select
        *,
        lag(to_years) over (order by from_years) as previous_to_years
    from {{ ref('age_bands') }}
)

select *
from bands
where
    from_years <> coalesce(previous_to_years, 0)
    or from_years >= to_years
