with

messages as (
    select * from {{ ref('stg_sbit__messages') }}
    where topic = 'bpm' and reject_reason is null
),

parsed as (
    select
        *,
        from_json(message, 'device_id bigint, time double, heartrate double') as numbers
    from messages
),

-- Numbers cost half of what their text costs, and nearly every reading has nothing else; where one
-- has, its fields are read as text.
with_texts as (
    select
        *,
        if(
            numbers.device_id is null or numbers.time is null or numbers.heartrate is null,
            from_json(message, 'device_id string, time string, heartrate string'),
            null
        ) as texts
    from parsed
),

typed as (
    select
        coalesce(numbers.device_id, {{ integer_of('texts.device_id') }}) as device_id,
        coalesce(
            {{ finite_double_of('numbers.heartrate') }},
            {{ finite_double_of('texts.heartrate') }}
        ) as bpm,
        coalesce(
            {{ epoch_number_to_timestamp('numbers.time') }},
            {{ epoch_to_timestamp('texts.time') }}
        ) as reading_at,
        numbers.heartrate is not null or texts.heartrate is not null as has_heartrate,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from with_texts
),

judged as (
    select
        * except (has_heartrate),
        coalesce(bpm > 0 and bpm <= {{ var('max_bpm') }}, false) as is_valid,
        case
            when device_id is null then 'device_id is not a whole number'
            else {{ time_fault('time', 'reading_at') }}
        end as reject_reason,
        case
            when bpm is null and has_heartrate then 'heartrate is not a number'
        end as field_reject_reason
    from typed
)

select * from judged
