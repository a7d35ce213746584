{#- From its first window on a server has every one, up to the latest of all servers. -#}
select server_id
from {{ ref('server_load') }}
group by server_id
having
    count(*) * 300
    <> unix_seconds((select max(loads.window_start) from {{ ref('server_load') }} as loads))
    - unix_seconds(min(window_start)) + 300
