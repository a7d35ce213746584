{#-
  Appends, in one commit at the end of a run, how far each model that succeeded has come. A crash before
  this means that the same loads are read again, which changes nothing, since writing is idempotent.
-#}
{% macro record_watermarks(results) %}
    {% if execute %}
        {% set by_load = {} %}
        {% for result in results if result.status == 'success' and has_watermark(result.node) %}
            {% set load_id = cut_of(result.node) %}
            {% if run_state()['watermarks'].get(result.node.name) != load_id %}
                {% do by_load.setdefault(load_id, []).append(result.node.name) %}
            {% endif %}
        {% endfor %}
        {% for load_id, names in by_load.items() %}
            {% do run_query(insert_watermarks(names, load_id)) %}
            {% for name in names %}
                {% do run_state()['watermarks'].update({name: load_id}) %}
            {% endfor %}
        {% endfor %}
    {% endif %}
{% endmacro %}

{#- The statement that appends one watermark for each of these models. -#}
{% macro insert_watermarks(names, load_id) %}
    insert into {{ generate_schema_name('audit', none) | trim }}.watermarks
    values
    {% for name in names -%}
        ('{{ name }}', {{ load_id }}, '{{ invocation_id }}', current_timestamp()){{ ', ' if not loop.last }}
    {%- endfor %}
{% endmacro %}
