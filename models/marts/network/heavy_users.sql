{{ config(
    unique_key=['customer_id', 'date', 'server_id'],
    partition_by=['date'],
    meta={'layout': 'date'},
) }}

{% set as_of = as_of(ref('int_connections')) %}
{% set query %}
    select
        {{ report_date('event_at') }} as date,
        server_id
    from {{ arrivals(ref('consolidated')) }}
    where event_type = 'usage'
{% endset %}
{% do touch(keys=['date', 'server_id'], query=query) %}

with

samples as (
    select
        *,
        {{ report_date('event_at') }} as date
    from {{ ref('consolidated') }}
    where
        event_type = 'usage'
        and event_at <= {{ as_of }}
        {{ within_touched_ranges('event_date', before=86400, after=2 * 86400) }}
        and not _is_deleted
),

touched as (
    select * from {{ only_touched('samples') }}
),

totals as (
    select
        server_id,
        date,
        sum(bytes) as bytes
    from touched
    group by server_id, date
),

customers as (
    select
        customer_id,
        date,
        server_id,
        sum(bytes) as bytes,
        cast(sum(received_bps) as double) / count(*) / 1000000 as received_mbps
    from touched
    where customer_id is not null
    group by customer_id, date, server_id
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
    ) as suggested_limit_mbps
from judged
