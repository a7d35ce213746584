{#- Whether a field of a JSON object is an object or an array, where `value` is its text. `path` are the
    names that lead to it. -#}
{% macro is_container(object, path, value) -%}
    {%- set fields = [] -%}
    {%- for type in ['map<string, string>', 'array<string>'] -%}
        {%- set nested = [type] -%}
        {%- for name in (path[1:] | reverse) -%}
            {%- do nested.append('struct<' ~ name ~ ': ' ~ nested[-1] ~ '>') -%}
        {%- endfor -%}
        {%- do fields.append(path[0] ~ ' ' ~ nested[-1]) -%}
    {%- endfor -%}
    coalesce({{ value }} rlike '^[{\\[]', false)
    and (
        {%- for field in fields %}
        from_json({{ object }}, '{{ field }}').{{ path | join('.') }} is not null
        {{- ' or' if not loop.last }}
        {%- endfor %}
    )
{%- endmacro %}
