{#- A whole number from text, or null. Digits only: '118440.0' is no id. -#}
{% macro integer_of(column) -%}
    case when {{ number_text_of(column) }} rlike '^[+-]?[0-9]+\\z' then try_cast({{ trimmed(column) }} as bigint) end
{%- endmacro %}
