{{ config(
    unique_key=['customer_id', 'date', 'server_id'],
    partition_by=['date'],
    meta={'layout': 'date'},
) }}

{% set days = ref('int_customer_days') %}
{% set query %}
    select
        date,
        server_id
    from {{ arrivals(days) }}
{% endset %}
{% do touch(keys=['date', 'server_id'], query=query) %}

with

days as (
    select * from {{ only_touched(days) }}
    where not _is_deleted
),

totals as (
    select
        server_id,
        date,
        sum(cast(bytes as decimal(20, 0))) as bytes,
        sum(wanting_micros) filter (where customer_id is not null) as wanting_micros,
        sum(short_micros) filter (where customer_id is not null) as short_micros
    from days
    group by server_id, date
),

customers as (
    select
        *,
        cast(sum_received_bps as double) / num_samples / 1000000 as received_mbps
    from days
    where customer_id is not null and num_samples > 0
),

medians as (
    select
        server_id,
        date,
        percentile(bytes, 0.5) as bytes
    from customers
    group by server_id, date
),

compared as (
    select
        customers.*,
        totals.bytes as server_bytes,
        cast(totals.short_micros - customers.short_micros as double)
        / nullif(totals.wanting_micros - customers.wanting_micros, 0) as others_share_of_time_short,
        medians.bytes as median_bytes,
        cast(customers.bytes as double) / nullif(totals.bytes, 0) as share_of_server,
        cast(customers.bytes as double) / nullif(medians.bytes, 0) as times_median
    from customers
    inner join totals on customers.server_id = totals.server_id and customers.date = totals.date
    inner join medians on customers.server_id = medians.server_id and customers.date = medians.date
),

judged as (
    select
        *,
        coalesce(times_median >= {{ var('network_heavy_times_median') }}, false)
        or coalesce(share_of_server >= {{ var('network_heavy_share_of_server') }}, false)
            as is_heavy
    from compared
)

select
    customer_id,
    date,
    server_id,
    cast(bytes as double) / 1000000000 as gigabytes,
    share_of_server,
    times_median,
    is_heavy,
    -- The speed with which the customer would have stayed at the threshold.
    if(
        is_heavy,
        received_mbps * (
            least(
                cast({{ var('network_heavy_times_median') }} as double) * nullif(median_bytes, 0),
                cast({{ var('network_heavy_share_of_server') }} as double) * nullif(server_bytes, 0)
            ) / bytes
        ),
        null
    ) as suggested_limit_mbps,
    others_share_of_time_short
from judged
