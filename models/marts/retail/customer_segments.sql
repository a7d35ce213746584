{{ config(unique_key=['customer_id']) }}

{% set as_of = as_of(ref('int_shop_events')) %}
{% set values, versions = ref('int_customer_values'), ref('int_customer_versions') %}
{#- All of them: whose last order is how many days ago, and who is better, may change for each. -#}
{% set query %}
    select customer_id from {{ this }}
    union all
    select customer_id from {{ arrivals(values) }}
    union all
    select customer_id from {{ arrivals(versions) }}
{% endset %}
{% do touch(keys=['customer_id'], query=query) %}

with

customer_values as (
    select * from {{ values }}
    where not _is_deleted
),

known as (
    select customer_id from customer_values
    union distinct
    select customer_id from {{ versions }}
    where valid_to = {{ end_of_time() }} and not is_deleted
),

counted as (
    select
        *,
        datediff({{ report_date(as_of) }}, last_ordered_on) as recency_days
    from customer_values
    where frequency > 0
),

compared as (
    select
        *,
        rank() over (order by recency_days desc) - 1 as better_than_r,
        rank() over (order by frequency) - 1 as better_than_f,
        rank() over (order by monetary) - 1 as better_than_m,
        greatest(count(*) over () - 1, 1) as others
    from counted
),

-- In whole numbers, so that no edge falls by a rounded double.
scored as (
    select
        *,
        least(5, 1 + 5 * better_than_r div others) as r,
        least(5, 1 + 5 * better_than_f div others) as f,
        least(5, 1 + 5 * better_than_m div others) as m
    from compared
),

segmented as (
    select
        scored.*,
        segments.segment
    from scored
    left join {{ ref('rfm_segments') }} as segments
        on
            scored.r between segments.r_from and segments.r_to
            and scored.f between segments.f_from and segments.f_to
            and scored.m between segments.m_from and segments.m_to
)

select
    known.customer_id,
    segmented.recency_days,
    segmented.frequency,
    segmented.monetary,
    segmented.r,
    segmented.f,
    segmented.m,
    if(segmented.customer_id is null, 'no orders', segmented.segment) as segment,
    segmented.order_days,
    segmented.first_ordered_on
from known
left join segmented on known.customer_id = segmented.customer_id
