{#- The customers of a server have at most all of its bytes, and no time is more than all short. -#}
select
    server_id,
    date
from {{ ref('heavy_users') }}
group by server_id, date
having
    sum(share_of_server) > 1.000001
    or min(others_share_of_time_short) < 0
    or max(others_share_of_time_short) > 1
