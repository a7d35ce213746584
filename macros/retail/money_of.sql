{#- An amount of money, or null: none is negative, or over a billion. -#}
{% macro money_of(column) -%}
    if({{ column }} between 0 and 1000000000, {{ column }}, null)
{%- endmacro %}
