{{ config(
    unique_key=['device_type', 'speed_class', 'date'],
    partition_by=['date'],
    meta={'layout': 'date'},
) }}

{% set events = ref('int_connections') %}
{% set as_of, before = as_of(events), as_of(events, is_before=true) %}
{% set query %}
    select
        explode(
            sequence(
                {{ report_date('event_at') }},
                {{ report_date('event_at + interval ' ~ var('network_sample_seconds') ~ ' second') }}
            )
        ) as date
    from {{ changes_since_built(
        ref('consolidated'),
        ['server_id', 'session_id', 'device_id', 'event_id', 'event_type', 'event_at', 'customer_id']
    ) }}
    union all
    select
        explode(
            sequence(
                {{ report_date(before ~ ' - interval ' ~ var('network_session_timeout_seconds') ~ ' second') }},
                {{ report_date(before ~ ' + interval ' ~ var('network_sample_seconds') ~ ' second') }}
            )
        ) as date
{% endset %}
{% do touch(keys=['date'], query=query) %}

with

samples as (
    select
        *,
        {{ report_date('event_at') }} as date
    from {{ ref('consolidated') }}
    where
        event_at <= {{ as_of }}
        {{ within_touched_ranges('event_date', before=2 * 86400, after=2 * 86400) }}
        and not _is_deleted
),

cut_at_midnight as (
    {{ pieces_by_day('(select * except (date) from samples)', as_of) }}
),

volumes as (
    select
        device_type,
        speed_class,
        date,
        sum(cast(received_bps as decimal(18, 0)) * cast(micros as decimal(12, 0))) as volume
    from {{ only_touched('cut_at_midnight') }}
    where micros > 0
    group by device_type, speed_class, date
),

occurrences as (
    select
        device_type,
        speed_class,
        date,
        count(distinct if(event_type = 'connect', device_id, null)) as devices_connected,
        count(distinct if(event_type = 'disconnect', device_id, null)) as devices_disconnected
    from {{ only_touched('samples') }}
    group by device_type, speed_class, date
),

high_speed as (
    select
        date,
        cast(count(distinct if(speed_class = 'high', customer_id, null)) as double)
        / nullif(count(distinct customer_id), 0) as share_of_customers
    from {{ only_touched('samples') }}
    where event_type <> 'disconnect'
    group by date
),

summed as (
    select
        coalesce(occurrences.device_type, volumes.device_type) as device_type,
        coalesce(occurrences.speed_class, volumes.speed_class) as speed_class,
        coalesce(occurrences.date, volumes.date) as date,
        coalesce(occurrences.devices_connected, 0) as devices_connected,
        coalesce(occurrences.devices_disconnected, 0) as devices_disconnected,
        coalesce(volumes.volume, 0) as volume
    from occurrences
    full outer join volumes
        on
            occurrences.device_type = volumes.device_type
            and occurrences.speed_class = volumes.speed_class
            and occurrences.date = volumes.date
)

select
    summed.device_type,
    summed.speed_class,
    summed.date,
    summed.devices_connected,
    summed.devices_disconnected,
    -- Over the day as far as the report time.
    cast(summed.volume as double) / nullif(
        cast(
            unix_micros(least({{ day_start('summed.date + interval 1 day') }}, {{ as_of }}))
            - unix_micros({{ day_start('summed.date') }}) as double
        ), 0
    ) / 1000000 as bandwidth_mbps,
    cast(summed.volume as double) / nullif(
        cast(sum(summed.volume) over (partition by summed.date) as double), 0
    ) as share_of_bandwidth,
    high_speed.share_of_customers as share_of_high_speed_customers
from summed
left join high_speed on summed.date = high_speed.date
