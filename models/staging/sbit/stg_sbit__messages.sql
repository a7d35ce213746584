with

source as (
    select * from {{ source('sbit', 'kafka_multiplex') }}
),

-- The columns of nearly every line hold all of it. The others are kept raw, as where a field is
-- absent, and judged apart: what Spark compiles for the many has none of it.
held as (
    select
        *,
        cast(null as array<string>) as missing
    from source
    where _raw is null
),

parsed as (
    select
        *,
        {{ json_objects_of('_raw', 'topic string') }} as raw_objects
    from source
    where _raw is not null
),

kept_raw as (
    select
        * except (raw_objects),
        if(
            {{ only_object_of('raw_objects', '_raw') }} is null,
            null,
            array_except(
                array('topic', 'value', 'key', 'partition', 'offset', 'timestamp'),
                json_object_keys(_raw)
            )
        ) as missing
    from parsed
),

checked as (
    select * from held
    union all
    select * from kept_raw
),

judged as (
    select
        topic,
        key as message_key,
        value as message,
        {{ epoch_to_timestamp('timestamp', "timestamp like '%+%'") }} as message_at,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id,
        coalesce(value, _raw, key) as raw_text,
        case
            when _raw is not null and missing is null then 'the line is not one JSON object'
            when array_contains(missing, 'topic') then 'topic is missing'
            when topic is null then 'the topic is null'
            when topic not in ('user_info', 'workout', 'bpm', 'gym') then 'the topic is unknown'
            when array_contains(missing, 'value') then 'value is missing'
        end as reject_reason,
        if(size(missing) > 0, concat('missing: ', array_join(missing, ', ')), null)
            as field_reject_reason
    from checked
)

select * from judged
