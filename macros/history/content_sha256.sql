{#- The identity of typed columns: payload_sha256 of their texts; times (`<event>_at`) are microseconds since
    1970. -#}
{% macro content_sha256(columns) -%}
    {%- set texts = [] -%}
    {%- for column in columns -%}
        {%- set value = 'unix_micros(' ~ column ~ ')' if column.endswith('_at') else column -%}
        {%- do texts.append('cast(' ~ value ~ ' as string)') -%}
    {%- endfor -%}
    {{ payload_sha256(texts) }}
{%- endmacro %}
