with

messages as (
    {{ fields_of_messages(
        ref('stg_sbit__messages'), 'gym',
        'mac_address string, gym string, action string, time string', 'time'
    ) }}
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
    from messages
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
            else {{ time_fault('sbit', 'time', 'event_at', 'fields.time', 'is_time_as_written') }}
        end as reject_reason
    from typed
)

select * from judged
