{{ config(unique_key=['date'], schema='gold_build') }}

{% set events = ref('int_events') %}
{% set as_of, before = as_of(events), as_of(events, is_before=true) %}
{% set query %}
    select date from {{ changes_since_built(ref('int_entries'), ['id', 'account']) }}
    union all
    select explode(array(cast({{ before }} as date), cast({{ as_of }} as date)))
{% endset %}
{% do touch(keys=['date'], query=query) %}

select
    date,
    sum(amount) as total,
    date = cast({{ as_of }} as date) as is_last
from {{ only_touched(ref('int_entries')) }}
where not _is_deleted
group by date
