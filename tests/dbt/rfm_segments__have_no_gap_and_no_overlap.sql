{#- Every combination of scores lies in one row. -#}
with

scores as (
    select explode(sequence(1, 5)) as score
),

combinations as (
    select
        r.score as r,
        f.score as f,
        m.score as m
    from scores as r
    cross join scores as f
    cross join scores as m
)

select
    combinations.*,
    count(segments.segment) as num_rows
from combinations
left join {{ ref('rfm_segments') }} as segments
    on
        combinations.r between segments.r_from and segments.r_to
        and combinations.f between segments.f_from and segments.f_to
        and combinations.m between segments.m_from and segments.m_to
group by combinations.r, combinations.f, combinations.m
having num_rows <> 1
