with

messages as (
    select
        *,
        {{ json_objects_of(
            'message',
            'event_id string, session_id string, device_id string, server_id string,
            event_type string, event_at string, asked_mbps string, received_mbps string,
            bytes string'
        ) }} as objects
    from {{ ref('stg_telecom__messages') }}
    where reject_reason is null
),

with_fields as (
    select
        *,
        {{ only_object_of('objects', 'message') }} as fields
    from messages
)

select
    {% for name in ['event_id', 'session_id', 'device_id', 'server_id'] -%}
    {{ integer_of('fields.' ~ name) }} as {{ name }},
    {% endfor -%}
    fields.event_type,
    {{ epoch_to_timestamp('fields.event_at') }} as event_at,
    {% for name in ['asked_mbps', 'received_mbps'] -%}
    try_cast({{ number_text_of('fields.' ~ name) }} as double) as {{ name }},
    {% endfor -%}
    {{ integer_of('fields.bytes') }} as bytes,
    cast(null as string) as _rescued,
    raw_text,
    case
        when message is null then 'value is null'
        when fields is null then 'value is not one JSON object'
        when {{ has_too_few_digits('fields.event_at', is_as_written('message', 'event_at')) }}
            then 'event_at has too few digits'
    end as message_fault,
    'telecom.kafka_multiplex' as source_name,
    _source_file,
    _source_sha256,
    _ingested_at,
    _load_id
from with_fields
