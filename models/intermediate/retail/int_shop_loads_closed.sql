{{ config(materialized='view', meta={'live': "load_id >= {load} and status = 'closed'"}) }}

{{ live_rows(audit_table('loads')) }}
