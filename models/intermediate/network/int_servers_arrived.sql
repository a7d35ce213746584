{{ config(materialized='view', meta={'live': '_load_id > {load} and reject_reason is null'}) }}

{{ live_rows(ref('stg_telecom__servers')) }}
