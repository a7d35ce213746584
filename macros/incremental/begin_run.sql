{#-
  Asks for the run's state before any model does: afterwards two threads might ask at once. A full refresh
  voids what it will build anew in one commit here, rather than in one for each model.
-#}
{% macro begin_run() %}
    {% if execute %}
        {% do interpret() %}
        {% do run_state() %}
        {% if flags.FULL_REFRESH %}
            {% do void_watermarks_of(
                graph.nodes.values() | selectattr('resource_type', 'equalto', 'model')
                | map(attribute='unique_id') | select('in', selected_resources) | list
            ) %}
        {% endif %}
    {% endif %}
{% endmacro %}
