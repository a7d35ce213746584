{{ config(materialized='view', meta={'live': '_load_id > {load}'}) }}

{{ live_rows(ref('stg_entries')) }}
