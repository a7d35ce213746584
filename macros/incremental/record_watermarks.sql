{#-
  Appends, in one commit at the end of a run, how far each model that succeeded has come. A crash before
  this means that the same loads are read again, which changes nothing, since writing is idempotent. Of a
  run with --defer, which may have read another state's tables, nothing is remembered.
-#}
{% macro record_watermarks(results) %}
    {% if execute and not invocation_args_dict.get('defer') %}
        {% set watermarks = run_state()['watermarks'] %}
        {% set reached = {} %}
        {% for result in results if result.status == 'success' and has_watermark(result.node) %}
            {% set load_id = cut_of(result.node) %}
            {% if watermarks.get(result.node.name) != load_id %}
                {% do reached.update({result.node.name: load_id}) %}
            {% endif %}
        {% endfor %}
        {% if reached %}
            {% do run_query(insert_watermarks(reached)) %}
            {% do watermarks.update(reached) %}
        {% endif %}
        {% if is_live() %}
            {# The loop hands it in again. #}
            {% set state = run_state() %}
            {% for name in reached if name in state['as_ofs_reached'] %}
                {% do state['as_ofs'].update({name: state['as_ofs_reached'][name]}) %}
            {% endfor %}
            {% set told = {} %}
            {% for part in ['cut', 'sources', 'watermarks', 'as_ofs', 'feeds'] %}
                {% do told.update({part: state[part]}) %}
            {% endfor %}
            {% do log('run state: ' ~ tojson(told)) %}
        {% endif %}
    {% endif %}
{% endmacro %}

{#- The statement that appends one watermark for each of these models. -#}
{% macro insert_watermarks(reached) %}
    insert into {{ generate_schema_name('audit', none) | trim }}.watermarks
    values
    {% for name, load_id in reached.items() -%}
        (
        '{{ name }}',
        {{ load_id }},
        {{ run_state()['as_ofs_reached'].get(name, 'cast(null as timestamp)') }},
        {{ run_state()['feeds_reached'].get(name, 'null') }},
        '{{ invocation_id }}',
        current_timestamp()
    ){{ ', ' if not loop.last }}
    {%- endfor %}
{% endmacro %}
