{% set columns = ['user_id', 'device_id', 'mac_address', 'registered_at'] %}
{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=columns + ['_pull_key', '_pull_id'],
    skip_matched_step=true,
) }}

{{ rows_delivered(ref('stg_sbit__registrations'), columns) }}
