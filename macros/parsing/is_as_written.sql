{#- Whether the text of a time in a JSON object is the sender's own, where it is in scientific notation: it
    is quoted, or its exponent has a plus, which Java never writes. Letters of the name and of the text may
    be written as their code. -#}
{% macro is_as_written(object, field) -%}
    {%- set name = [] -%}
    {%- for letter in field -%}
        {%- do name.append('(' ~ letter ~ '|(?i:\\\\\\\\u00' ~ letter.encode().hex() ~ '))') -%}
    {%- endfor -%}
    {{ object }} rlike '"{{ name | join }}"\\s*:\\s*("[^"]*([eE]|\\\\u)|[-0-9.]+[eE][+])'
{%- endmacro %}
