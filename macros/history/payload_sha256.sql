{#- The identity of a payload: SHA-256 of its fields' texts, told apart from each other and from nulls. -#}
{% macro payload_sha256(columns) -%}
    sha2(
        concat_ws(
            char(31),
            {% for column in columns -%}
            coalesce({{ column }}, char(0)){{ ', ' if not loop.last }}
            {%- endfor %}
        ),
        256
    )
{%- endmacro %}
