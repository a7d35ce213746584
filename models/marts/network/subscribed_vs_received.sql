{{ config(
    unique_key=['customer_id', 'date'],
    partition_by=['date'],
    meta={'layout': 'date'},
) }}

{% set days, plans = ref('int_customer_days'), ref('int_customer_plans') %}
{% set query %}
    select
        customer_id,
        date
    from {{ arrivals(days) }}
    where customer_id is not null
    union all
    {{ rows_of_changed(
        plans, 'customer_id', ['customer_id', 'date'],
        day_start('known.date'), day_start('known.date + interval 1 day')
    ) }}
{% endset %}
{% do touch(keys=['date', 'customer_id'], query=query) %}

with

measured as (
    select
        customer_id,
        date,
        array_sort(flatten(collect_list(wanting_received_bps))) as received,
        sum(wanting_micros) as wanting_micros,
        sum(short_micros) as short_micros
    from {{ only_touched(days) }}
    where customer_id is not null and micros > 0 and not _is_deleted
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
