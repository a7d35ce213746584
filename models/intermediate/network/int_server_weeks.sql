{{ config(
    unique_key=['server_id', 'week_start'],
    partition_by=['week_start'],
    meta={'layout': 'week_start'},
) }}

{% set events, windows, days = (
    ref('int_connections'), ref('int_server_windows'), ref('int_customer_days')
) %}
{% set as_of, before = as_of(events), as_of(events, is_before=true) %}
{% set changed %}
    select server_id, trunc({{ report_date('window_start') }}, 'week') as week_start
    from {{ arrivals(windows) }}
    union all
    select server_id, trunc(date, 'week') as week_start from {{ arrivals(days) }}
    union all
    -- In the week that was not over, windows without a row have come.
    select server_id, week_start from {{ this }}
    where week_start >= trunc({{ report_date(before) }}, 'week') and {{ before }} < {{ as_of }}
    union all
    {{ rows_of_changed(
        ref('int_server_versions'), 'server_id', ['server_id', 'week_start'],
        day_start('known.week_start'), day_start('known.week_start + interval 7 day')
    ) }}
{% endset %}
{#- Where the server's first event is an earlier one now, its first week so far has all windows. -#}
{% set query %}
    with changed as ({{ changed }})
    select * from changed
    union all
    select changed.server_id, min(known.week_start) as week_start
    from changed
    inner join {{ this }} as known
        on changed.server_id = known.server_id and changed.week_start < known.week_start
    where not known._is_deleted
    group by changed.server_id, changed.week_start
{% endset %}
{% do touch(keys=['week_start', 'server_id'], query=query) %}

with

dated_windows as (
    select
        *,
        trunc({{ report_date('window_start') }}, 'week') as week_start
    from {{ windows }}
    where
        window_start <= {{ as_of }}
        {{ within_touched_ranges('window_date', before=86400, after=8 * 86400) }}
        and not _is_deleted
),

dated_days as (
    select
        *,
        trunc(date, 'week') as week_start
    from {{ days }}
    where not _is_deleted {{ within_touched_ranges('date', before=0, after=7 * 86400) }}
),

loads as (
    select * from {{ only_touched('dated_windows') }}
),

weeks as (
    select
        loads.server_id,
        loads.week_start,
        max(loads.devices_peak) as devices_peak,
        greatest(
            {{ window_of('min(seen.first_event_at)') }}, {{ day_start('loads.week_start') }}
        ) as counted_from,
        least(
            {{ day_start('loads.week_start + interval 7 day') }} - interval 1 microsecond,
            {{ as_of }}
        ) as counted_until
    from loads
    inner join {{ ref('int_servers_seen') }} as seen on loads.server_id = seen.server_id
    group by loads.server_id, loads.week_start
),

idle as (
    select
        server_id,
        week_start,
        sum(num_windows) as num_windows
    from ({{ windows_without_a_row('weeks', 'loads', ['server_id', 'week_start']) }}) as counted
    group by server_id, week_start
),

customers as (
    select
        server_id,
        week_start,
        size(array_distinct(flatten(collect_list(devices)))) as devices,
        cast(sum(short_micros) filter (where customer_id is not null) as double)
        / nullif(sum(wanting_micros) filter (where customer_id is not null), 0)
            as share_of_time_short
    from {{ only_touched('dated_days') }}
    group by server_id, week_start
)

select
    weeks.server_id,
    weeks.week_start,
    weeks.devices_peak,
    cast(coalesce(customers.devices, 0) as bigint) as devices,
    customers.share_of_time_short,
    coalesce(idle.num_windows, 0) as num_idle_windows,
    {{ technical_columns() }}
from weeks
left join idle on weeks.server_id = idle.server_id and weeks.week_start = idle.week_start
left join customers
    on weeks.server_id = customers.server_id and weeks.week_start = customers.week_start
