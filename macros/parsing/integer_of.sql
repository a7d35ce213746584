{#- A whole number from text, or null. Digits only: '118440.0' is no id. -#}
{% macro integer_of(column) -%}
    case when {{ trimmed(column) }} rlike '^[+-]?[0-9]+$' then try_cast({{ trimmed(column) }} as bigint) end
{%- endmacro %}
