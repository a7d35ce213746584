{{ config(incremental_strategy='replace_loads') }}

with

messages as (
    select * from {{ arrivals(ref('stg_retail__messages')) }}
),

clicks as (
    select * from {{ arrivals(ref('stg_retail__clicks')) }}
),

-- What is absent from the envelope of a message of the topic is told with the click.
rejects as (
    {{ rejects_of('messages', 'retail.clicks', 'clicks') }}
    union all
    {{ rejects_of('clicks', 'retail.clicks', 'clicks', with_fields=true) }}
)

select * from rejects
