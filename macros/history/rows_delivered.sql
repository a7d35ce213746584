{#-
  What files and pulls of a table have told, row by row, and of a pulled key also that it was deleted or that
  its row was refused: either ends what the key told before.
-#}
{% macro rows_delivered(relation, columns) -%}
with

arrivals as (
    select * from {{ arrivals(relation) }}
    where reject_reason is null or _pull_key is not null
)

select distinct
    {{ columns | join(',\n    ') }},
    _pull_key,
    _pull_id,
    if(reject_reason is not null, 'refused', if(_op = 'delete', 'deleted', 'told')) as _status,
    {{ technical_columns() }}
from arrivals
{%- endmacro %}
