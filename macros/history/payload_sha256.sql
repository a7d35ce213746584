{#-
  The identity of a payload: SHA-256 of its fields' texts. Each comes with its length, and a null is
  marked, so no two different payloads read the same.
-#}
{% macro payload_sha256(columns) -%}
    sha2(
        concat_ws(
            ',',
            {% for column in columns -%}
            coalesce(concat(length({{ column }}), ':', {{ column }}), '-'){{ ', ' if not loop.last }}
            {%- endfor %}
        ),
        256
    )
{%- endmacro %}
