{% snapshot stock_level_versions %}

{{ config(
    strategy='change_log',
    unique_key=['product_id', 'warehouse'],
    updated_at='changed_at',
    meta={'change_type': 'change_type'},
) }}

{% set query %}
    select product_id, warehouse from {{ arrivals(ref('int_stock_levels_delivered')) }}
{% endset %}
{% do touch(keys=['product_id', 'warehouse'], query=query) %}

select
    product_id,
    warehouse,
    changed_at,
    change_type,
    reorder_point
from {{ only_touched(ref('int_stock_level_changes_told')) }}

{% endsnapshot %}
