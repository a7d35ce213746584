{{ config(unique_key=['key'], schema='gold_build') }}

{% do touch(keys=['key'], query='select key from ' ~ arrivals(ref('int_others'))) %}

select
    key,
    sum(amount) as total
from {{ only_touched(ref('int_others')) }}
where not _is_deleted
group by key
