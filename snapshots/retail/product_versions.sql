{% snapshot product_versions %}

{{ config(
    strategy='change_log',
    unique_key='product_id',
    updated_at='changed_at',
    meta={'change_type': 'change_type'},
) }}

{% set query %}
    select product_id from {{ arrivals(ref('int_products_delivered')) }}
{% endset %}
{% do touch(keys=['product_id'], query=query) %}

select
    product_id,
    changed_at,
    change_type,
    name,
    category,
    unit_price
from {{ only_touched(ref('int_product_changes_told')) }}

{% endsnapshot %}
