{#-
  The object that a JSON text consists of, or null where the text is anything else. A bracket in the text
  might end the array before the text ends; what follows it then ends no object.
-#}
{% macro only_object_of(objects, text) -%}
    if(
        size({{ objects }}) = 1
        and (
            not contains({{ text }}, ']')
            or from_json(concat('{"object":', {{ text }}, '}'), 'object map<string, string>').object is not null
        ),
        {{ objects }}[0],
        null
    )
{%- endmacro %}
