{{ config(
    unique_key=['customer_id', 'date'],
    partition_by=['date'],
    meta={'layout': 'date'},
) }}

{% set events, consolidated, plans = (
    ref('int_connections'), ref('consolidated'), ref('int_customer_plans')
) %}
{% set as_of = as_of(events) %}
{% set query %}
    select
        customer_id,
        date
    from {{ unsettled_events(consolidated, as_of, as_of_before(events)) }} as samples
    lateral view explode(
        sequence(
            {{ report_date('event_at') }},
            {{ report_date('event_at + interval ' ~ var('network_sample_seconds') ~ ' second') }}
        )
    ) days as date
    where event_type = 'usage' and customer_id is not null
    union all
    {{ rows_of_changed(
        plans, 'customer_id', ['customer_id', 'date'],
        day_start('known.date'), day_start('known.date + interval 1 day')
    ) }}
{% endset %}
{% do touch(keys=['date', 'customer_id'], query=query) %}

with

samples as (
    select * from {{ consolidated }}
    where
        customer_id is not null
        {{ within_touched_ranges('event_date', before=2 * 86400, after=2 * 86400) }}
        and not _is_deleted
),

cut_at_midnight as (
    {{ pieces_by_day('samples', as_of) }}
),

pieces as (
    select
        *,
        asked_bps > 0 as is_wanting,
        asked_bps > 0
        and received_bps < {{ var('network_short_below') }} * least(asked_bps, plan_bps) as is_short
    from {{ only_touched('cut_at_midnight') }}
),

measured as (
    select
        customer_id,
        date,
        array_sort(collect_list(if(is_wanting, received_bps, null))) as received,
        sum(if(is_wanting, micros, 0)) as wanting_micros,
        sum(if(is_short, micros, 0)) as short_micros
    from pieces
    group by customer_id, date
),

-- The plan that was in force longest on the day; of two as long, the faster.
plan_times as (
    select
        measured.customer_id,
        measured.date,
        plans.plan_bps,
        sum(
            unix_micros(least(plans.valid_to, {{ day_start('measured.date + interval 1 day') }}))
            - unix_micros(greatest(plans.valid_from, {{ day_start('measured.date') }}))
        ) as micros
    from measured
    inner join {{ plans }} as plans
        on
            measured.customer_id = plans.customer_id
            and not plans._is_deleted
            and plans.valid_from < {{ day_start('measured.date + interval 1 day') }}
            and plans.valid_to > {{ day_start('measured.date') }}
    group by measured.customer_id, measured.date, plans.plan_bps
),

longest as (
    select *
    from plan_times
    qualify
        row_number() over (
            partition by customer_id, date order by micros desc, plan_bps desc nulls last
        ) = 1
),

judged as (
    select
        measured.*,
        longest.plan_bps,
        cast(measured.short_micros as double) / nullif(measured.wanting_micros, 0)
            as share_of_time_short
    from measured
    left join longest
        on measured.customer_id = longest.customer_id and measured.date = longest.date
)

select
    customer_id,
    date,
    {{ mbps_of('plan_bps') }} as plan_mbps,
    cast({{ hundredfold_percentile('received', 50) }} as double) / 100000000 as received_p50_mbps,
    cast({{ hundredfold_percentile('received', 95) }} as double) / 100000000 as received_p95_mbps,
    share_of_time_short,
    if(
        plan_bps is null, null, share_of_time_short <= {{ var('network_short_time_allowed') }}
    ) as gets_what_was_sold
from judged
