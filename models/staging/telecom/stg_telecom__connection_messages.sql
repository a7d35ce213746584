with

messages as (
    {{ fields_of_messages(
        ref('stg_telecom__messages'), 'connections',
        'event_id string, session_id string, device_id string, server_id string, event_type string,
        event_at string, asked_mbps string, received_mbps string, bytes string',
        'event_at'
    ) }}
)

select
    {% for name in ['event_id', 'session_id', 'device_id', 'server_id'] -%}
    {{ integer_of('fields.' ~ name) }} as {{ name }},
    {% endfor -%}
    fields.event_type,
    {{ epoch_to_timestamp('fields.event_at', 'is_time_as_written') }} as event_at,
    {% for name in ['asked_mbps', 'received_mbps'] -%}
    try_cast({{ number_text_of('fields.' ~ name) }} as double) as {{ name }},
    {% endfor -%}
    {{ integer_of('fields.bytes') }} as bytes,
    cast(null as string) as _rescued,
    raw_text,
    case
        when message is null then 'value is null'
        when fields is null then 'value is not one JSON object'
        when {{ has_too_few_digits('fields.event_at', 'is_time_as_written') }}
            then 'event_at has too few digits'
    end as message_fault,
    'telecom.kafka_multiplex' as source_name,
    _source_file,
    _source_sha256,
    _ingested_at,
    _load_id
from messages
