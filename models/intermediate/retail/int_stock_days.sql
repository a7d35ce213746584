{{ config(
    unique_key=['product_id', 'warehouse', 'date'],
    partition_by=['date'],
    meta={'layout': 'date'},
) }}

{% set query %}
    select
        product_id,
        warehouse,
        {{ report_date('moved_at') }} as date
    from {{ arrivals(ref('int_stock_movements')) }}
{% endset %}
{% do touch(keys=['product_id', 'warehouse', 'date'], query=query) %}

with

movements as (
    select
        *,
        {{ report_date('moved_at') }} as date
    from {{ ref('int_stock_movements') }}
    where not _is_deleted {{ within_touched_ranges('moved_at', before=86400, after=2 * 86400) }}
),

days as (
    select
        product_id,
        warehouse,
        date,
        sum(greatest(quantity, 0)) as received,
        sum(greatest(-quantity, 0)) as issued,
        sum(if(reason = 'sale', greatest(-quantity, 0), 0)) as sold,
        count(*) as movements
    from {{ only_touched('movements') }}
    group by product_id, warehouse, date
)

select
    *,
    {{ technical_columns() }}
from days
