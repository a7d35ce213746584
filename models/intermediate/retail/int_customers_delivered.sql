{% set columns = [
    'customer_id', 'name', 'email', 'region', 'updated_at',
    '_op', '_pulled_at'
] %}
{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=columns + ['_pull_key', '_pull_id'],
    skip_matched_step=true,
) }}

{{ rows_delivered(ref('stg_retail__customers'), columns) }}
