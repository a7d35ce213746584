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
        coalesce(
            _raw,
            concat_ws(
                ',',
                coalesce(mac_address, ''),
                coalesce(gym, ''),
                coalesce(login, ''),
                coalesce(logout, ''),
                _rescued
            )
        ) as raw_text,
        _raw is not null as is_malformed,
        login as login_text,
        logout as logout_text,
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

checked as (
    select
        *,
        {{ time_fault('sbit', 'logout', 'logout_at', 'logout_text') }} as logout_fault
    from typed
),

judged as (
    select
        * except (login_text, logout_at, logout_text, logout_fault),
        if(logout_fault is null, logout_at, null) as logout_at,
        case
            when _op = 'delete' then null
            when is_malformed then 'the line does not have the declared columns'
            when gym is null then 'gym is not a whole number'
            when mac_address is null then 'mac_address is not a mac address'
            else {{ time_fault('sbit', 'login', 'login_at', 'login_text') }}
        end as reject_reason,
        if(
            {{ trimmed('logout_text') }} <> '' and not _op <=> 'delete', logout_fault, null
        ) as field_reject_reason
    from checked
)

select * from judged
