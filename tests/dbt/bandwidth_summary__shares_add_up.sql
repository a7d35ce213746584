{#- The shares of a day add up to all of it, where anything was in use. -#}
select date
from {{ ref('bandwidth_summary') }}
group by date
having abs(sum(share_of_bandwidth) - 1) > 0.000001
