with

messages as (
    select * from {{ ref('stg_sbit__messages') }}
    where topic = 'workout' and reject_reason is null
),

parsed as (
    select
        *,
        from_json(
            message,
            'user_id string, workout_id string, session_id string, action string, timestamp string'
        ) as fields
    from messages
),

typed as (
    select
        {{ integer_of('fields.user_id') }} as user_id,
        {{ integer_of('fields.workout_id') }} as workout_id,
        {{ integer_of('fields.session_id') }} as session_id,
        lower({{ trimmed('fields.action') }}) as action,
        {{ epoch_to_timestamp('fields.timestamp') }} as event_at,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from parsed
),

judged as (
    select
        *,
        case
            when user_id is null then 'user_id is not a whole number'
            when workout_id is null then 'workout_id is not a whole number'
            when session_id is null then 'session_id is not a whole number'
            when action is null or action not in ('start', 'stop')
                then 'action is none of start, stop'
            else {{ time_fault('timestamp', 'event_at') }}
        end as reject_reason
    from typed
)

select * from judged
