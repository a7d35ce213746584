{#- Text without spaces, tabs and line ends around it. -#}
{% macro trimmed(column) -%}
    btrim({{ column }}, ' \t\n\r\u000b\u000c')
{%- endmacro %}
