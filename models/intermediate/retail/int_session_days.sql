{{ config(
    unique_key=['session_id', 'product_id', 'date'],
    partition_by=['date'],
) }}

{% set clicks = ref('int_clicks') %}
{#- Of another content of a click, one of the two counts no more, under whatever session. -#}
{% set query %}
    select
        clicks.session_id,
        clicks.product_id
    from {{ clicks }} as clicks
    left semi join {{ arrivals(clicks) }} as arrived on clicks.click_id = arrived.click_id
{% endset %}
{% do touch(keys=['session_id', 'product_id'], query=query) %}

with

told as (
    select * from {{ only_touched(clicks) }}
),

-- By click, so that what counts of each is decided among its own contents alone.
counted as (
    select
        counted.*,
        {{ report_date('counted.clicked_at') }} as date
    from {{ ref('int_clicks_counted') }} as counted
    left semi join told on counted.click_id = told.click_id
),

days as (
    select
        session_id,
        product_id,
        date,
        count_if(action = 'view') as views,
        count_if(action = 'add') as adds,
        count_if(action = 'buy') as buys
    from {{ only_touched('counted') }}
    group by session_id, product_id, date
)

select
    *,
    -- On whatever day.
    sum(buys) over (partition by session_id, product_id) > 0 as has_bought,
    {{ technical_columns() }}
from days
