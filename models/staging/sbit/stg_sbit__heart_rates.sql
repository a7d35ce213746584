with

messages as (
    select * from {{ ref('stg_sbit__messages') }}
    where topic = 'bpm' and reject_reason is null
),

parsed as (
    select
        *,
        {{ json_objects_of('message', 'device_id bigint, time double, heartrate double') }}
            as number_objects
    from messages
),

with_numbers as (
    select
        *,
        {{ only_object_of('number_objects', 'message') }} as numbers
    from parsed
),

-- Numbers cost half of what their text costs, and nearly every reading has nothing else; where one
-- has, or has a time that may have been rounded, its fields are read as text.
reparsed as (
    select
        *,
        if(
            numbers.device_id is null or numbers.time is null or numbers.heartrate is null
            or contains(message, '+'),
            {{ json_objects_of('message', 'device_id string, time string, heartrate string') }},
            null
        ) as text_objects
    from with_numbers
),

with_texts as (
    select
        *,
        {{ only_object_of('text_objects', 'message') }} as texts,
        text_objects is not null and {{ is_as_written('message', 'time') }} as is_time_as_written
    from reparsed
),

typed as (
    select
        message,
        numbers is not null or texts is not null as is_object,
        texts.time as time_text,
        numbers.heartrate is not null or texts.heartrate is not null as has_heartrate,
        is_time_as_written,
        coalesce(numbers.device_id, {{ integer_of('texts.device_id') }}) as device_id,
        coalesce(
            {{ finite_double_of('numbers.heartrate') }},
            {{ finite_double_of('try_cast(' ~ number_text_of('texts.heartrate') ~ ' as double)') }}
        ) as bpm,
        if(
            {{ has_too_few_digits('texts.time', 'is_time_as_written') }},
            null,
            coalesce(
                {{ epoch_number_to_timestamp('numbers.time') }},
                {{ epoch_to_timestamp('texts.time', 'is_time_as_written') }}
            )
        ) as reading_at,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from with_texts
),

judged as (
    select
        * except (message, is_object, time_text, has_heartrate, is_time_as_written),
        coalesce(bpm > 0 and bpm <= {{ var('max_bpm') }}, false) as is_valid,
        case
            when message is null then 'value is null'
            when not is_object then 'value is not one JSON object'
            when device_id is null then 'device_id is not a whole number'
            else {{ time_fault('sbit', 'time', 'reading_at', 'time_text', 'is_time_as_written') }}
        end as reject_reason,
        case
            when bpm is not null then null
            when has_heartrate then 'heartrate is not a number'
            when not array_contains(json_object_keys(message), 'heartrate')
                then 'missing: heartrate'
        end as field_reject_reason
    from typed
)

select * from judged
