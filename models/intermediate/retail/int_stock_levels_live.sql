{{ config(materialized='view', meta={'live': 'not is_arrived or _load_id > {load}'}) }}

{{ live_rows(ref('int_stock_levels_known')) }}
