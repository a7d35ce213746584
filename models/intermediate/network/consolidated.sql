{{ config(
    unique_key=[
        'server_id', 'session_id', 'device_id', 'event_id', 'event_type', 'event_at', 'customer_id'
    ],
    partition_by=['event_date'],
    meta={'layout': 'event_date', 'range': 'window_start'},
    tblproperties={'delta.enableChangeDataFeed': 'true'},
) }}

{% set events = ref('int_connections') %}
{% set keys = ['event_date', 'server_id', 'window_start'] %}
{% set moment = ['event_at', 'event_at + interval 1 microsecond'] %}
{% set query %}
    select
        cast(window_start as date) as event_date,
        server_id,
        window_start
    from {{ arrivals(events) }} as events
    lateral view explode({{ windows_around('event_at') }}) around as window_start
    union all
    {{ rows_of_changed(ref('int_device_customers'), 'device_id', keys, *moment) }}
    union all
    {{ rows_of_changed(ref('int_customer_plans'), 'customer_id', keys, *moment) }}
    union all
    {{ rows_of_changed(ref('int_server_versions'), 'server_id', keys, *moment) }}
{% endset %}
{% do touch(keys=keys, query=query) %}

with

windowed as (
    select
        *,
        {{ window_of('event_at') }} as window_start
    from {{ events_around_touched(events) }}
),

-- Of two reports of one event, the higher; it alone counts.
resolved as (
    select *
    from windowed
    qualify row_number() over (
        partition by server_id, session_id, device_id, event_id, event_type, event_at
        order by received_bps desc nulls last, asked_bps desc nulls last, bytes desc nulls last
    ) = 1
),

sessions as (
    {{ session_events('resolved') }}
),

chosen as (
    select * from {{ only_touched('sessions') }}
),

device_customers as (
    select * from {{ ref('int_device_customers') }}
    where not _is_deleted
),

plans as (
    select * from {{ ref('int_customer_plans') }}
    where not _is_deleted
),

servers as (
    select * from {{ ref('int_server_versions') }}
    where not _is_deleted
)

select
    chosen.server_id,
    chosen.session_id,
    chosen.device_id,
    chosen.event_id,
    chosen.event_type,
    chosen.event_at,
    chosen.event_date,
    chosen.window_start,
    chosen.asked_bps,
    chosen.received_bps,
    chosen.bytes,
    chosen.next_at,
    chosen.was_open,
    device_customers.customer_id,
    coalesce(device_customers.device_type, 'unknown') as device_type,
    plans.kind as customer_kind,
    plans.plan_bps,
    coalesce(plans.speed_class, 'unknown') as speed_class,
    servers.server_id is not null as is_server_known,
    servers.location,
    servers.capacity_bps,
    {{ technical_columns() }}
from chosen
left join device_customers
    on
        chosen.device_id = device_customers.device_id
        and chosen.event_at >= device_customers.valid_from
        and chosen.event_at < device_customers.valid_to
left join plans
    on
        device_customers.customer_id = plans.customer_id
        and chosen.event_at >= plans.valid_from
        and chosen.event_at < plans.valid_to
left join servers
    on
        chosen.server_id = servers.server_id
        and chosen.event_at >= servers.valid_from
        and chosen.event_at < servers.valid_to
