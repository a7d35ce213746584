{% set columns = ['gym', 'mac_address', 'login_at', 'logout_at'] %}
{{ config(
    incremental_strategy='merge_arrivals',
    unique_key=columns + ['_pull_key', '_pull_id'],
    skip_matched_step=true,
) }}

{{ rows_delivered(ref('stg_sbit__gym_logins'), columns) }}
