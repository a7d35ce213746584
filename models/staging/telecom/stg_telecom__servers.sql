with

source as (
    select * from {{ source('telecom', 'servers') }}
),

typed as (
    select
        server_id,
        location,
        {{ bits_per_second_of('capacity_mbps') }} as capacity_bps,
        valid_from,
        to_json(struct(server_id, location, capacity_mbps, valid_from, _rescued)) as raw_text,
        capacity_mbps,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from source
),

judged as (
    select
        * except (capacity_mbps),
        case
            when server_id is null then 'server_id is missing'
            when valid_from is null then 'valid_from is missing'
            when valid_from < timestamp '{{ var("telecom_earliest_at") }} 00:00:00+00:00'
                then 'valid_from is before {{ var("telecom_earliest_at") }}'
            when valid_from >= {{ end_of_time() }} then 'valid_from is out of range'
        end as reject_reason,
        if(
            capacity_mbps is not null and capacity_bps is null,
            'capacity_mbps is not a speed',
            null
        ) as field_reject_reason
    from typed
)

select * from judged
