{{ config(unique_key=['gym', 'mac_address', 'login_at', 'logout_at']) }}

{{ rows_that_count(
    ref('int_gym_logins_delivered'),
    key=['gym', 'mac_address', 'login_at'],
    columns=['gym', 'mac_address', 'login_at', 'logout_at'],
) }}
