with

bounds as (
    select
        above_mbps,
        up_to_mbps,
        lag(up_to_mbps) over (order by above_mbps nulls first) as previous_up_to_mbps,
        lead(above_mbps) over (order by above_mbps nulls first) as next_above_mbps
    from {{ ref('speed_classes') }}
)

select *
from bounds
where
    not (above_mbps <=> previous_up_to_mbps)
    or not (up_to_mbps <=> next_above_mbps)
