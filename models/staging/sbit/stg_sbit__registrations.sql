with

source as (
    select * from {{ source('sbit', 'registered_users') }}
),

typed as (
    select
        {{ integer_of('user_id') }} as user_id,
        {{ integer_of('device_id') }} as device_id,
        {{ mac_address_of('mac_address') }} as mac_address,
        {{ epoch_to_timestamp('registration_timestamp') }} as registered_at,
        coalesce(
            _raw,
            concat_ws(
                ',',
                coalesce(user_id, ''),
                coalesce(device_id, ''),
                coalesce(mac_address, ''),
                coalesce(registration_timestamp, ''),
                _rescued
            )
        ) as raw_text,
        _raw is not null as is_malformed,
        registration_timestamp as time_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id,
        _pull_id,
        _pulled_at,
        _op,
        _pull_key
    from source
),

judged as (
    select
        * except (time_text),
        case
            when _op = 'delete' then null
            when is_malformed then 'the line does not have the declared columns'
            when user_id is null then 'user_id is not a whole number'
            when device_id is null then 'device_id is not a whole number'
            when mac_address is null then 'mac_address is not a mac address'
            else {{ time_fault('sbit', 'registration_timestamp', 'registered_at', 'time_text') }}
        end as reject_reason
    from typed
)

select * from judged
