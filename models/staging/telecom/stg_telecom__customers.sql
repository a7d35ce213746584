with

source as (
    select * from {{ source('telecom', 'customers') }}
),

typed as (
    select
        customer_id,
        if(lower(trim(kind)) in ('residential', 'business'), lower(trim(kind)), null) as kind,
        name,
        address,
        {{ bits_per_second_of('plan_mbps') }} as plan_bps,
        valid_from,
        to_json(struct(customer_id, kind, name, address, plan_mbps, valid_from, _rescued))
            as raw_text,
        kind as kind_text,
        plan_mbps,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from source
),

judged as (
    select
        * except (kind_text, plan_mbps),
        plan_mbps is not null and plan_bps is null as is_plan_invalid,
        case
            when customer_id is null then 'customer_id is missing'
            when valid_from is null then 'valid_from is missing'
            when valid_from < timestamp '{{ var("telecom_earliest_at") }} 00:00:00+00:00'
                then 'valid_from is before {{ var("telecom_earliest_at") }}'
            when valid_from >= {{ end_of_time() }} then 'valid_from is out of range'
        end as reject_reason,
        case
            when plan_mbps is not null and plan_bps is null then 'plan_mbps is not a speed'
            when kind_text is not null and kind is null
                then 'kind is none of residential, business'
        end as field_reject_reason
    from typed
)

select * from judged
