{#- The first object of a JSON text, with these fields; JSON as its standard has it. What follows it is not seen. -#}
{% macro json_object_of(text, fields) -%}
    from_json({{ text }}, '{{ fields }}', map('allowSingleQuotes', 'false', 'allowNonNumericNumbers', 'false'))
{%- endmacro %}
