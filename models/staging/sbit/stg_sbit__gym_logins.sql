with

source as (
    select * from {{ source('sbit', 'gym_logins') }}
),

typed as (
    select
        {{ integer_of('gym') }} as gym,
        {{ mac_address_of('mac_address') }} as mac_address,
        {{ epoch_to_timestamp('login') }} as login_at,
        {{ epoch_to_timestamp('logout') }} as logout_at,
        coalesce(_raw, concat_ws(',', mac_address, gym, login, coalesce(logout, ''))) as raw_text,
        _raw is not null as is_malformed,
        logout as logout_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from source
),

judged as (
    select
        * except (logout_text),
        case
            when is_malformed then 'the line does not have the declared columns'
            when gym is null then 'gym is not a whole number'
            when mac_address is null then 'mac_address is not a mac address'
            else {{ time_fault('login', 'login_at') }}
        end as reject_reason,
        case
            when logout_at is null and trim(logout_text) <> '' then 'logout is unreadable'
        end as field_reject_reason
    from typed
)

select * from judged
