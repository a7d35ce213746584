{{ config(
    materialized='view',
    meta={'live': 'event_date >= cast({since} as date) and event_at >= {since}'},
) }}

{{ live_rows(ref('int_connections')) }}
