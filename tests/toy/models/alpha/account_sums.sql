{{ config(unique_key=['account'], schema='gold_build') }}

{% set query %}
    select account from {{ arrivals(ref('int_entries')) }}
    union all
    select account from {{ arrivals(ref('account_names')) }}
{% endset %}
{% do touch(keys=['account'], query=query) %}

with

sums as (
    select
        account,
        sum(amount) as total
    from {{ only_touched(ref('int_entries')) }}
    where not _is_deleted
    group by account
),

names as (
    select
        account,
        name
    from {{ ref('account_names') }}
    where dbt_valid_to is null
)

select
    sums.account,
    sums.total,
    max(names.name) as name,
    max_by(levels.level, levels.from_total) as level
from sums
left join names on sums.account = names.account
left join {{ ref('levels') }} as levels on sums.total >= levels.from_total
group by sums.account, sums.total
