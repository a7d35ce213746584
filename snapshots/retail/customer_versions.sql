{% snapshot customer_versions %}

{{ config(
    strategy='change_log',
    unique_key='customer_id',
    updated_at='changed_at',
    meta={'change_type': 'change_type'},
) }}

{% set query %}
    select customer_id from {{ arrivals(ref('int_customers_delivered')) }}
{% endset %}
{% do touch(keys=['customer_id'], query=query) %}

select
    customer_id,
    changed_at,
    change_type,
    name,
    email,
    region
from {{ only_touched(ref('int_customer_changes_told')) }}

{% endsnapshot %}
