with

messages as (
    {{ fields_of_messages(
        ref('stg_sbit__messages'), 'workout',
        'user_id string, workout_id string, session_id string, action string, timestamp string',
        'timestamp'
    ) }}
),

typed as (
    select
        message,
        fields,
        is_time_as_written,
        {{ integer_of('fields.user_id') }} as user_id,
        {{ integer_of('fields.workout_id') }} as workout_id,
        {{ integer_of('fields.session_id') }} as session_id,
        lower({{ trimmed('fields.action') }}) as action,
        {{ epoch_to_timestamp('fields.timestamp', 'is_time_as_written') }} as event_at,
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
            when user_id is null then 'user_id is not a whole number'
            when workout_id is null then 'workout_id is not a whole number'
            when session_id is null then 'session_id is not a whole number'
            when action is null or action not in ('start', 'stop')
                then 'action is none of start, stop'
            else
                {{ time_fault(
                    'sbit', 'timestamp', 'event_at',
                    'fields.timestamp', 'is_time_as_written'
                ) }}
        end as reject_reason
    from typed
)

select * from judged
