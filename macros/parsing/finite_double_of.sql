{#- A number that is one, or null: NaN and Infinity are no measurements. -#}
{% macro finite_double_of(column) -%}
    case when abs({{ column }}) < double('Infinity') then {{ column }} end
{%- endmacro %}
