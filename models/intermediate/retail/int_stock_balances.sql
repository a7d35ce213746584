{{ config(unique_key=['product_id', 'warehouse', '_load_id']) }}

{% set days, as_of = ref('int_stock_days'), as_of(ref('int_shop_events')) %}
{% set query %}
    select product_id, warehouse from {{ arrivals(days) }}
{% endset %}
{% do touch(keys=['product_id', 'warehouse'], query=query) %}
{#- What moved on a day before this one has happened by any clock: it is not later than what a live
    view calls now. -#}
{% set settled_at = as_of ~ ' - interval ' ~ (var('max_clock_skew_seconds') + 86400) ~ ' second' %}

with

days_that_count as (
    select
        *,
        coalesce(
            date >= (
                select max(past.date) - interval {{ var('retail_cover_days') + 1 }} day
                from {{ days }} as past
                where past.date < {{ report_date(settled_at) }}
            ),
            true
        ) as is_recent
    from {{ only_touched(days) }}
),

-- Also of a stock that has no movement any more, which has to take the place of what it was.
balances as (
    select
        product_id,
        warehouse,
        sum(if(_is_deleted, 0, received - issued)) as on_hand,
        sum(if(_is_deleted, 0, movements)) as movements,
        sort_array(
            collect_list(struct(date, sold)) filter (
                where not _is_deleted and sold > 0 and is_recent
            )
        ) as sales,
        cast({{ cut() }} as bigint) as _load_id
    from days_that_count
    group by product_id, warehouse
)

select * from balances
{% if is_load_by_load() -%}
-- What live views read until they move on, whatever becomes of this run.
union all
(
    select * from {{ only_touched(this) }}
    where _load_id <= {{ live_load() }} and _load_id < {{ cut() }}
    qualify row_number() over (partition by product_id, warehouse order by _load_id desc) = 1
)
{%- endif %}
