{% snapshot order_versions %}

{{ config(
    strategy='change_log',
    unique_key='order_id',
    updated_at='changed_at',
    meta={'change_type': 'change_type', 'range': 'order_id'},
) }}

{% set query %}
    select order_id from {{ arrivals(ref('int_orders_delivered')) }}
{% endset %}
{% do touch(keys=['order_id'], query=query) %}

select
    order_id,
    changed_at,
    change_type,
    customer_id,
    status,
    ordered_at
from {{ only_touched(ref('int_order_changes_told')) }}

{% endsnapshot %}
