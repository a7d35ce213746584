with

messages as (
    select * from {{ ref('stg_sbit__messages') }}
    where topic = 'bpm' and reject_reason is null
),

parsed as (
    select
        *,
        from_json(
            message,
            'device_id bigint, time double, heartrate double',
            map('allowSingleQuotes', 'false', 'allowNonNumericNumbers', 'false')
        ) as numbers
    from messages
),

-- Numbers cost half of what their text costs, and nearly every reading is plain: an object whose
-- only brace is its last, so that nothing follows it, of three numbers, none of them told twice
-- (of a number and something else the number would count, not the last), of which the time is not
-- rounded. Any other is read as text, in lambdas: what Spark compiles for the many has none of it.
read as (
    select
        *,
        if(
            octet_length(substring_index(message, '}', 1)) = octet_length(message) - 1
            and octet_length(substring_index(message, ',', 3)) = octet_length(message)
            and numbers.device_id is not null
            and numbers.time is not null
            and abs(numbers.heartrate) < double('Infinity')
            and not (numbers.time % 10 = 0 and contains(message, '+')),
            struct(
                numbers.device_id,
                {{ epoch_number_to_timestamp('numbers.time') }} as reading_at,
                numbers.heartrate as bpm,
                cast(null as string) as fault,
                cast(null as string) as bpm_fault
            ),
            transform(
                transform(
                    array(
                        {{ json_objects_of(
                            'message', 'device_id string, time string, heartrate string'
                        ) }}
                    ),
                    objects -> {{ only_object_of('objects', 'message') }}
                ),
                texts -> struct(
                    {{ integer_of('texts.device_id') }} as device_id,
                    {{ epoch_to_timestamp('texts.time', is_as_written('message', 'time')) }}
                        as reading_at,
                    try_cast({{ number_text_of('texts.heartrate') }} as double) as bpm,
                    case
                        when message is null then 'value is null'
                        when texts is null then 'value is not one JSON object'
                        when {{ integer_of('texts.device_id') }} is null
                            then 'device_id is not a whole number'
                        when
                            {{ has_too_few_digits('texts.time', is_as_written('message', 'time')) }}
                            then 'time has too few digits'
                    end as fault,
                    case
                        when texts.heartrate is not null then 'heartrate is not a number'
                        when not array_contains(json_object_keys(message), 'heartrate')
                            then 'missing: heartrate'
                    end as bpm_fault
                )
            )[0]
        ) as reading
    from parsed
),

typed as (
    select
        reading.*,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from read
),

judged as (
    select
        * except (fault, bpm_fault),
        coalesce(bpm > 0 and bpm <= {{ var('wearables_max_bpm') }}, false) as is_valid,
        coalesce(fault, {{ time_fault('sbit', 'time', 'reading_at') }}) as reject_reason,
        if(bpm is null, bpm_fault, null) as field_reject_reason
    from typed
)

select * from judged
