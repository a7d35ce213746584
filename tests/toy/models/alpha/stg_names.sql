{{ config(materialized='view') }}

select
    account,
    timestamp_seconds(at) as changed_at,
    kind,
    name,
    _load_id
from {{ source('toy', 'names') }}
