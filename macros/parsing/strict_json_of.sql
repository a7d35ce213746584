{#- What a JSON text begins with, read by a schema; JSON as its standard has it. What follows is not seen. -#}
{% macro strict_json_of(text, schema) -%}
    from_json({{ text }}, '{{ schema }}', map('allowSingleQuotes', 'false', 'allowNonNumericNumbers', 'false'))
{%- endmacro %}
