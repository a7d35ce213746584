{#- A text as it was delivered, or null where it is blank. -#}
{% macro text_of(column) -%}
    if(trim({{ column }}) <> '', {{ column }}, null)
{%- endmacro %}
