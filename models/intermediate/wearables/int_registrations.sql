{% set key = ['user_id', 'device_id', 'mac_address', 'registered_at'] %}
{{ config(unique_key=key) }}

{{ rows_that_count(ref('int_registrations_delivered'), key=key, columns=key) }}
