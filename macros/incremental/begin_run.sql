{#- Asks for the run's state before any model does: afterwards two threads might ask at once. -#}
{% macro begin_run() %}
    {% if execute %}
        {% do run_state() %}
    {% endif %}
{% endmacro %}
