{#-
  The objects of a JSON text, with these fields. `from_json` stops after the first object and says nothing
  of what follows; within brackets a second object is a second element, and whatever else follows leaves
  nothing at all. For `only_object_of`, which wants the result as a column: it
  looks at it twice.
-#}
{% macro json_objects_of(text, fields) -%}
    from_json(
        concat('[', {{ text }}, ']'),
        'array<struct<{{ fields }}>>',
        map('allowSingleQuotes', 'false', 'allowNonNumericNumbers', 'false')
    )
{%- endmacro %}
