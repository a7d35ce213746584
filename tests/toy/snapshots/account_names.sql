{% snapshot account_names %}

{{ config(strategy='change_log', unique_key='account', updated_at='changed_at', meta={'change_type': 'kind'}) }}

{% do touch(keys=['account'], query='select account from ' ~ arrivals(ref('int_names'))) %}

select
    account,
    changed_at,
    kind,
    name
from {{ only_touched(ref('int_names')) }}

{% endsnapshot %}
