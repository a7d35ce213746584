with

messages as (
    select * from {{ ref('stg_sbit__messages') }}
    where topic = 'bpm' and reject_reason is null
),

parsed as (
    select
        *,
        from_json(message, 'device_id string, time string, heartrate string') as fields
    from messages
),

typed as (
    select
        {{ integer_of('fields.device_id') }} as device_id,
        {{ finite_double_of('fields.heartrate') }} as bpm,
        {{ epoch_to_timestamp('fields.time') }} as reading_at,
        fields.heartrate as heartrate_text,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from parsed
),

judged as (
    select
        * except (heartrate_text),
        coalesce(bpm > 0 and bpm <= {{ var('max_bpm') }}, false) as is_valid,
        case
            when device_id is null then 'device_id is not a whole number'
            else {{ time_fault('time', 'reading_at') }}
        end as reject_reason,
        case
            when bpm is null and heartrate_text is not null then 'heartrate is not a number'
        end as field_reject_reason
    from typed
)

select * from judged
