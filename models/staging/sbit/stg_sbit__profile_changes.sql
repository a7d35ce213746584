with

messages as (
    select * from {{ ref('stg_sbit__messages') }}
    where topic = 'user_info' and reject_reason is null
),

parsed as (
    select
        *,
        from_json(
            message,
            'user_id string, update_type string, timestamp string, dob string, sex string,
            gender string, first_name string, last_name string,
            address struct<street_address: string, city: string, state: string, zip: string>'
        ) as fields,
        message is null as is_tombstone
    from messages
),

typed as (
    select
        {{ integer_of('if(is_tombstone, message_key, fields.user_id)') }} as user_id,
        if(is_tombstone, 'delete', lower({{ trimmed('fields.update_type') }})) as change_type,
        fields.dob as dob_text,
        if(
            fields.dob rlike '^[0-9]{2}/[0-9]{2}/[0-9]{4}\\z',
            cast(try_to_timestamp(fields.dob, 'MM/dd/yyyy') as date),
            null
        ) as born_on,
        fields.sex,
        fields.gender,
        fields.first_name,
        fields.last_name,
        fields.address.street_address,
        fields.address.city,
        fields.address.state,
        fields.address.zip,
        if(
            is_tombstone,
            message_at,
            {{ epoch_to_timestamp('fields.timestamp') }}
        ) as changed_at,
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
            when change_type is null or change_type not in ('new', 'update', 'delete')
                then 'update_type is none of new, update, delete'
            else {{ time_fault('timestamp', 'changed_at') }}
        end as reject_reason,
        case
            when dob_text is not null and born_on is null then 'dob is not a date as MM/dd/yyyy'
        end as field_reject_reason
    from typed
)

select * from judged
