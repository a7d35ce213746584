with

source as (
    select * from {{ source('sbit', 'kafka_multiplex') }}
),

typed as (
    select
        topic,
        key as message_key,
        value as message,
        coalesce(value, _raw, key) as raw_text,
        {{ epoch_to_timestamp('timestamp') }} as message_at,
        _raw is not null and json_object_keys(_raw) is null as is_malformed,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from source
),

judged as (
    select
        * except (is_malformed, raw_text),
        raw_text,
        case
            when is_malformed then 'the line is not a JSON object'
            when topic is null then 'the topic is missing'
            when topic not in ('user_info', 'workout', 'bpm') then 'the topic is unknown'
        end as reject_reason
    from typed
)

select * from judged
