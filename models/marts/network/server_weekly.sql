{{ config(
    unique_key=['server_id', 'week_start'],
    partition_by=['week_start'],
    meta={'layout': 'week_start'},
) }}

{% set weeks = ref('int_server_weeks') %}
{% set changed %}
    select server_id, week_start from {{ arrivals(weeks) }}
    union all
    select server_id, trunc({{ report_date('window_start') }}, 'week') as week_start
    from {{ arrivals(ref('int_server_windows')) }}
    union all
    {{ rows_of_changed(
        ref('int_server_versions'), 'server_id', ['server_id', 'week_start'],
        day_start('known.week_start'), day_start('known.week_start + interval 7 day')
    ) }}
{% endset %}
{#- Each week changes itself and the one that is compared with it. -#}
{% set query %}
    with changed as ({{ changed }})
    select server_id, explode(array(week_start, date_add(week_start, 7))) as week_start
    from changed
{% endset %}
{% do touch(keys=['week_start', 'server_id'], query=query) %}

with

weeks as (
    select * from {{ weeks }}
    where not _is_deleted {{ within_touched_ranges('week_start', before=7 * 86400, after=86400) }}
),

loads as (
    select
        *,
        trunc({{ report_date('window_start') }}, 'week') as week_start
    from {{ ref('server_load') }}
    where true {{ within_touched_ranges('window_date', before=8 * 86400, after=8 * 86400) }}
),

counted as (
    select
        server_id,
        week_start,
        usage_rate,
        1 as num_windows
    from loads
    union all
    select
        server_id,
        week_start,
        0 as usage_rate,
        num_idle_windows as num_windows
    from weeks
),

used as (
    select
        server_id,
        week_start,
        percentile(usage_rate, 0.95, num_windows) as usage_rate_p95
    from counted
    group by server_id, week_start
),

measured as (
    select
        weeks.*,
        used.usage_rate_p95
    from weeks
    inner join used on weeks.server_id = used.server_id and weeks.week_start = used.week_start
),

compared as (
    select
        server_id,
        week_start,
        devices_peak,
        devices,
        usage_rate_p95,
        share_of_time_short,
        devices_peak - max(devices_peak) over week_before as devices_peak_change,
        devices - max(devices) over week_before as devices_change,
        usage_rate_p95 - max(usage_rate_p95) over week_before as usage_rate_p95_change,
        share_of_time_short - max(share_of_time_short) over week_before
            as share_of_time_short_change
    from measured
    window week_before as (
        partition by server_id
        order by week_start
        range between 7 preceding and 7 preceding
    )
)

select * from {{ only_touched('compared') }}
