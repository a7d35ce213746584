{{ config(materialized='view') }}

select
    id,
    account,
    amount,
    timestamp_seconds(at) as event_at,
    _load_id
from {{ source('toy', 'entries') }}
where amount <= {{ var('most') }}
