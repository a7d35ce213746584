{% snapshot user_profiles %}

{{ config(
    strategy='change_log',
    unique_key='user_id',
    updated_at='changed_at',
    meta={'change_type': 'change_type'},
) }}

{% set query %}
    select user_id from {{ arrivals(ref('int_profile_changes')) }}
{% endset %}
{% do touch(keys=['user_id'], query=query) %}

select
    user_id,
    changed_at,
    change_type,
    born_on,
    sex,
    gender,
    first_name,
    last_name,
    street_address,
    city,
    state,
    zip
from {{ only_touched(ref('int_profile_changes_resolved')) }}

{% endsnapshot %}
