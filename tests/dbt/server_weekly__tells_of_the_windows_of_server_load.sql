{#- A week has the highest peak of its windows, and uses no more than the fullest of them. -#}
with

loads as (
    select
        server_id,
        trunc({{ report_date('window_start') }}, 'week') as week_start,
        max(devices_peak) as devices_peak,
        max(usage_rate) as usage_rate
    from {{ ref('server_load') }}
    group by server_id, trunc({{ report_date('window_start') }}, 'week')
),

weeks as (
    select * from {{ ref('server_weekly') }}
)

select
    loads.*,
    weeks.devices_peak as weekly_peak,
    weeks.usage_rate_p95
from loads
full outer join weeks
    on loads.server_id = weeks.server_id and loads.week_start = weeks.week_start
where
    not loads.devices_peak <=> weeks.devices_peak
    or weeks.usage_rate_p95 < 0
    -- Where no rate is known, all windows that count are without a row.
    or weeks.usage_rate_p95 > coalesce(loads.usage_rate, 0) + 0.000001
