{{ config(materialized='view', meta={'live': 'event_at >= {since}'}) }}

{{ live_rows(ref('int_events')) }}
