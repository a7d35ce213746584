{{ config(unique_key=['date'], schema='gold_build') }}

{% set as_of = as_of(ref('int_events')) %}
{% set query %}
    select date from {{ changes_since_built(ref('int_entries'), ['id', 'account']) }}
    union all
    select explode(array(cast({{ as_of_before(ref('int_events')) }} as date), cast({{ as_of }} as date)))
{% endset %}
{% do touch(keys=['date'], query=query) %}

select
    date,
    sum(amount) as total,
    date = cast({{ as_of }} as date) as is_last
from {{ only_touched(ref('int_entries')) }}
where not _is_deleted
group by date
