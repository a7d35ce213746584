{#- Whether the text of a time in a JSON object is the sender's own, where it is in scientific notation: it
    is quoted, or its exponent has a plus, which Java never writes. -#}
{% macro is_as_written(object, field) -%}
    {{ object }} rlike '"{{ field }}"\\s*:\\s*("[^"]*[eE]|[-0-9.]+[eE][+])'
{%- endmacro %}
