{#- A window is there because an event happened or a session was open in it. -#}
select
    server_id,
    window_start
from {{ ref('server_load') }}
where last_event_at is null and devices_peak = 0
