{#-
  The rows of a table of a database as they are now, of what files and pulls have told (`rows_delivered`). The
  last pull of a key decides; of a key that no pull has told the last change, of one moment a row that is gone,
  then the least digest.
-#}
{% macro present_rows(delivered, key, columns, changed_at) -%}
{% set query %}
    select {{ key | join(', ') }} from {{ arrivals(delivered) }}
{% endset %}
{% do touch(keys=key, query=query) %}

with

last_told as (
    select *
    from {{ only_touched(delivered) }}
    qualify row_number() over (
        partition by {{ key | join(', ') }}
        order by {{ present_order(columns, changed_at) }}
    ) = 1
)

select
    {{ columns | join(',\n    ') }},
    {{ technical_columns() }}
from last_told
where _status = 'told'
{%- endmacro %}
