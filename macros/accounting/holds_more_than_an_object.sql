{#-
  Whether a JSON text that begins with an object goes on after it with another or with something else. Told
  by other functions than those that read it, for accounts that must not trust the reading; only a text with
  an object after an object, or with another end than an object's, is looked at.
-#}
{% macro holds_more_than_an_object(text) -%}
    (
        {{ text }} rlike '^\\s*[{]'
        and ({{ text }} rlike '(?s)[}].*[{]' or not {{ text }} rlike '[}]\\s*\\z')
        and (
            coalesce(json_array_length(concat('[', {{ text }}, ']')), 0) <> 1
            or json_object_keys(concat('{"object":', {{ text }}, '}')) is null
        )
    )
{%- endmacro %}
