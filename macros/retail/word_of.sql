{#- One of some words, however it is spelt, or null. -#}
{% macro word_of(column, words) -%}
    if(lower(trim({{ column }})) in ('{{ words | join("', '") }}'), lower(trim({{ column }})), null)
{%- endmacro %}
