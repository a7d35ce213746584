{#-
  Asks for the run's state before any model does: afterwards two threads might ask at once. A full refresh
  voids what it will build anew in one commit here, rather than in one for each model.
-#}
{% macro begin_run() %}
    {% if execute %}
        {% if not is_live() and not invocation_args_dict.get('defer') %}
            {% do refuse_what_is_not_built() %}
        {% endif %}
        {% do interpret(true) %}
        {% do run_state() %}
        {% if flags.FULL_REFRESH %}
            {% set anew = [] %}
            {% for node in graph.nodes.values() if node.unique_id in selected_resources and has_watermark(node) %}
                {# A snapshot is never built anew for itself. #}
                {% do anew.append(node.unique_id) if node.resource_type == 'model' %}
            {% endfor %}
            {% do void_watermarks_of(anew) %}
        {% endif %}
    {% endif %}
{% endmacro %}
