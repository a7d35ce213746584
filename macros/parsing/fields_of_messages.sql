{#-
  A topic's messages with what their one JSON object holds, as `fields` (null where a message is anything
  else), and whether its time has all digits.
-#}
{% macro fields_of_messages(relation, topic, fields, time) -%}
    select
        *,
        {{ only_object_of('objects', 'message') }} as fields,
        {{ is_as_written('message', time) }} as is_time_as_written
    from (
        select
            *,
            {{ json_objects_of('message', fields) }} as objects
        from {{ relation }}
        where topic = '{{ topic }}' and reject_reason is null
    )
{%- endmacro %}
