with

messages as (
    select * from {{ ref('stg_sbit__messages') }}
    where topic = 'gym' and reject_reason is null
),

parsed as (
    select
        *,
        {{ json_objects_of(
            'message', 'mac_address string, gym string, action string, time string'
        ) }} as objects
    from messages
),

with_fields as (
    select
        *,
        {{ only_object_of('objects', 'message') }} as fields,
        {{ is_as_written('message', 'time') }} as is_time_as_written
    from parsed
),

typed as (
    select
        message,
        fields,
        is_time_as_written,
        {{ integer_of('fields.gym') }} as gym,
        {{ mac_address_of('fields.mac_address') }} as mac_address,
        lower({{ trimmed('fields.action') }}) as action,
        {{ epoch_to_timestamp('fields.time', 'is_time_as_written') }} as event_at,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from with_fields
),

judged as (
    select
        * except (message, fields, is_time_as_written),
        case
            when message is null then 'value is null'
            when fields is null then 'value is not one JSON object'
            when gym is null then 'gym is not a whole number'
            when mac_address is null then 'mac_address is not a mac address'
            when action is null or action not in ('login', 'logout')
                then 'action is none of login, logout'
            else
                {{ time_fault(
                    'sbit', 'time', 'event_at',
                    has_too_few_digits('fields.time', 'is_time_as_written')
                ) }}
        end as reject_reason
    from typed
)

select * from judged
