{{ config(
    materialized='view',
    meta={'live': '(is_arrived and _load_id > {load}) or (not is_arrived and _load_id <= {load})'},
) }}

{{ live_rows(ref('int_stock_known')) }}
