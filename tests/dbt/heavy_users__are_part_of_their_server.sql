{#- The customers of a server have at most all of its bytes. -#}
select
    server_id,
    date
from {{ ref('heavy_users') }}
group by server_id, date
having sum(share_of_server) > 1.000001
