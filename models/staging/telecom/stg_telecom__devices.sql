{%- set octet = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])' -%}
{%- set private_ipv4 = (
    '^(10[.]' ~ octet ~ '|172[.](1[6-9]|2[0-9]|3[01])|192[.]168)[.]' ~ octet ~ '[.]' ~ octet ~ '\\\\z'
) -%}
with

source as (
    select * from {{ source('telecom', 'devices') }}
),

typed as (
    select
        device_id,
        customer_id,
        if(
            lower(trim(device_type)) in ('computer', 'phone'), lower(trim(device_type)), null
        ) as device_type,
        if(ipv4 rlike '{{ private_ipv4 }}', ipv4, null) as ipv4,
        registered_at,
        to_json(struct(device_id, customer_id, device_type, ipv4, registered_at, _rescued))
            as raw_text,
        device_type as device_type_text,
        ipv4 as ipv4_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from source
),

judged as (
    select
        * except (device_type_text, ipv4_text),
        case
            when device_id is null then 'device_id is missing'
            when customer_id is null then 'customer_id is missing'
            else {{ time_fault('telecom', 'registered_at', 'registered_at') }}
        end as reject_reason,
        case
            when device_type_text is not null and device_type is null
                then 'device_type is none of computer, phone'
            when ipv4_text is not null and ipv4 is null then 'ipv4 is not a private IPv4 address'
        end as field_reject_reason
    from typed
)

select * from judged
