with

rows_of_files as (
    select
        event_id,
        session_id,
        device_id,
        server_id,
        event_type,
        event_at,
        asked_mbps,
        received_mbps,
        bytes,
        _rescued,
        cast(null as string) as raw_text,
        cast(null as string) as message_fault,
        'telecom.connections' as source_name,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from {{ source('telecom', 'connections') }}
),

events as (
    select * from rows_of_files
    union all
    select * from {{ ref('stg_telecom__connection_messages') }}
),

typed as (
    select
        event_id,
        session_id,
        device_id,
        server_id,
        lower(trim(event_type)) as event_type,
        event_at,
        -- No device has a line of more than a Tbit/s, and none brings more than 10 TB between two
        -- samples: what tells of bits where megabits are meant is found, and sums do not overflow.
        {% for name in ['asked', 'received'] -%}
        if(
            lower(trim(event_type)) = 'usage' and {{ name }}_mbps <= 1e6,
            {{ bits_per_second_of(name ~ '_mbps') }},
            null
        ) as {{ name }}_bps,
        {% endfor -%}
        if(lower(trim(event_type)) = 'usage' and bytes between 0 and 10000000000000, bytes, null)
            as bytes,
        coalesce(
            raw_text,
            to_json(
                struct(
                    event_id,
                    session_id,
                    device_id,
                    server_id,
                    event_type,
                    event_at,
                    asked_mbps,
                    received_mbps,
                    bytes,
                    _rescued
                )
            )
        ) as raw_text,
        message_fault,
        source_name,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from events
),

judged as (
    select
        * except (message_fault),
        coalesce(
            message_fault,
            case
                when event_id is null then 'event_id is missing'
                when session_id is null then 'session_id is missing'
                when device_id is null then 'device_id is missing'
                when server_id is null then 'server_id is missing'
                when event_type is null or event_type not in ('connect', 'disconnect', 'usage')
                    then 'event_type is none of connect, disconnect, usage'
            end,
            {{ time_fault('telecom', 'event_at', 'event_at') }},
            case
                when event_type <> 'usage' then null
                when asked_bps is null then 'asked_mbps is not a speed'
                when received_bps is null then 'received_mbps is not a speed'
                when bytes is null then 'bytes is not a number of bytes'
            end
        ) as reject_reason
    from typed
)

select * from judged
