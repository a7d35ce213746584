{{ config(
    unique_key=['product_id', 'date'],
    partition_by=['date'],
    meta={'layout': 'date'},
) }}

{% set query %}
    select product_id, date from {{ arrivals(ref('int_session_days')) }}
{% endset %}
{% do touch(keys=['product_id', 'date'], query=query) %}

with

sessions as (
    select * from {{ only_touched(ref('int_session_days')) }}
    where not _is_deleted
)

select
    product_id,
    date,
    sum(views) as views,
    sum(adds) as adds,
    sum(buys) as buys,
    cast(count_if(views > 0 and has_bought) as double) / nullif(count_if(views > 0), 0)
        as conversion_rate
from sessions
group by product_id, date
