{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=['user_id', 'changed_at', 'change_type', 'payload_sha256'],
    skip_matched_step=true,
) }}

with

arrivals as (
    select * from {{ arrivals(ref('stg_sbit__profile_changes')) }}
    where reject_reason is null
),

identified as (
    select
        user_id,
        changed_at,
        change_type,
        {{ payload_sha256([
            'dob_text',
            'sex',
            'gender',
            'first_name',
            'last_name',
            'street_address',
            'city',
            'state',
            'zip',
        ]) }} as payload_sha256,
        born_on,
        sex,
        gender,
        first_name,
        last_name,
        street_address,
        city,
        state,
        zip
    from arrivals
)

select distinct
    *,
    {{ technical_columns() }}
from identified
