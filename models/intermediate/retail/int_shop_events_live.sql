{{ config(
    materialized='view',
    meta={'live': '(is_arrived and _load_id > {load}) or (not is_arrived and event_at >= {since})'},
) }}

{{ live_rows(ref('int_shop_events_known')) }}
