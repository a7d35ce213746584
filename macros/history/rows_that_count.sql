{#-
  The rows that count of what files and pulls of a table have told (`rows_delivered`): of a pulled key the last
  row alone, and of a business key that any pull has told, no row of a file.
-#}
{% macro rows_that_count(delivered, key, columns) -%}
{% set query %}
    select {{ key | join(', ') }}
    from {{ arrivals(delivered) }}
    where _status = 'told'
    union all
    -- What a pulled key told before.
    select delivered.{{ key | join(', delivered.') }}
    from {{ delivered }} as delivered
    left semi join {{ arrivals(delivered) }} as arrived on delivered._pull_key = arrived._pull_key
    where delivered._status = 'told'
{% endset %}
{% do touch(keys=key, query=query) %}

with

told as (
    select
        *,
        count(_pull_key) over (partition by {{ key | join(', ') }}) > 0 as is_pulled
    from {{ only_touched(delivered) }}
    where _status = 'told'
),

last_pulls as (
    select
        delivered._pull_key,
        max(delivered._pull_id) as _pull_id
    from {{ delivered }} as delivered
    left semi join told on delivered._pull_key = told._pull_key
    group by delivered._pull_key
)

select distinct
    {% for column in columns -%}
    told.{{ column }},
    {% endfor -%}
    {{ technical_columns() }}
from told
left join last_pulls
    on told._pull_key = last_pulls._pull_key and told._pull_id = last_pulls._pull_id
where not told.is_pulled or last_pulls._pull_key is not null
{%- endmacro %}
