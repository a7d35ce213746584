{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=[
        'event_id',
        'session_id',
        'device_id',
        'server_id',
        'event_type',
        'event_at',
        'asked_bps',
        'received_bps',
        'bytes',
    ],
    partition_by=['event_date'],
    meta={'layout': 'event_date', 'range': 'event_at'},
    tblproperties={'delta.autoOptimize.autoCompact': 'true'},
    skip_matched_step=true,
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_telecom__connections')) }}
    where reject_reason is null
)

select distinct
    event_id,
    session_id,
    device_id,
    server_id,
    event_type,
    event_at,
    cast(event_at as date) as event_date,
    asked_bps,
    received_bps,
    bytes,
    {{ technical_columns() }}
from arrivals
