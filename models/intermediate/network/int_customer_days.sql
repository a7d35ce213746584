{{ config(
    unique_key=['customer_id', 'date', 'server_id'],
    partition_by=['date'],
    meta={'layout': 'date'},
) }}

{% set events, consolidated = ref('int_connections'), ref('consolidated') %}
{% set as_of, before = as_of(events), as_of(events, is_before=true) %}
{% set query %}
    select
        customer_id,
        server_id,
        explode(
            sequence({{ report_date('event_at') }}, {{ report_date(timeout_after('event_at')) }})
        ) as date
    from {{ unsettled_events(consolidated, as_of, before) }} as events
{% endset %}
{% do touch(keys=['date', 'server_id', 'customer_id'], query=query) %}

with

events as (
    select * from {{ consolidated }}
    where
        event_at <= {{ as_of }}
        {{ within_touched_ranges(
            'event_date',
            before=2 * 86400 + var('network_session_timeout_seconds'),
            after=2 * 86400
        ) }}
        and not _is_deleted
),

cut_at_midnight as (
    {{ pieces_by_day('events', as_of) }}
),

pieces as (
    select
        *,
        event_type = 'usage' and date = {{ report_date('event_at') }} as is_sample,
        asked_bps > 0 and micros > 0 as is_wanting,
        asked_bps > 0
        and received_bps < {{ var('network_short_below') }} * least(asked_bps, plan_bps) as is_short
    from {{ only_touched('cut_at_midnight') }}
)

select
    customer_id,
    date,
    server_id,
    array_sort(collect_set(device_id)) as devices,
    count_if(is_sample) as num_samples,
    sum(if(is_sample, bytes, 0)) as bytes,
    sum(if(is_sample, received_bps, 0)) as sum_received_bps,
    sum(micros) as micros,
    sum(if(is_wanting, micros, 0)) as wanting_micros,
    sum(if(is_short, micros, 0)) as short_micros,
    array_sort(collect_list(if(is_wanting, received_bps, null))) as wanting_received_bps,
    {{ technical_columns() }}
from pieces
group by customer_id, date, server_id
