{{ config(materialized='view') }}

{% set staged = [
    (ref('stg_retail__orders'), 'ordered_at'),
    (ref('stg_retail__refunds'), 'refunded_at'),
    (ref('stg_retail__stock_movements'), 'moved_at'),
    (ref('stg_retail__clicks'), 'clicked_at'),
] -%}
select
    event_at,
    false as is_arrived,
    _load_id
from {{ ref('int_shop_events') }}
{% for relation, event_at in staged -%}
union all
select
    {{ event_at }} as event_at,
    true as is_arrived,
    _load_id
from {{ relation }}
where reject_reason is null and {{ event_at }} is not null
{% endfor -%}
