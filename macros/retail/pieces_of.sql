{#- A number of pieces, or null: none is under the least, or over a million. -#}
{% macro pieces_of(column, least=0) -%}
    if({{ column }} between {{ least }} and 1000000, {{ column }}, null)
{%- endmacro %}
