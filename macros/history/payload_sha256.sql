{#-
  The identity of a payload: SHA-256 of its fields' texts, of times (`<event>_at`) of the microseconds since
  1970. Each comes with its length, and a null is marked, so no two different payloads read the same.
-#}
{% macro payload_sha256(columns) -%}
    {%- set texts = [] -%}
    {%- for column in columns -%}
        {%- set value = 'unix_micros(' ~ column ~ ')' if column.endswith('_at') else column -%}
        {%- do texts.append('cast(' ~ value ~ ' as string)') -%}
    {%- endfor %}
    sha2(
        concat_ws(
            ',',
            {% for text in texts -%}
            coalesce(concat(length({{ text }}), ':', {{ text }}), '-'){{ ', ' if not loop.last }}
            {%- endfor %}
        ),
        256
    )
{%- endmacro %}
