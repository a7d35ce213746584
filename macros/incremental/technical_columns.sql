{#- The columns that end every silver table: the cut of the build that last changed the row, and
    whether the row has ceased to be. -#}
{% macro technical_columns() -%}
    cast({{ cut() }} as bigint) as _load_id,
    false as _is_deleted
{%- endmacro %}
