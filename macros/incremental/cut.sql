{#-
  The last load that this model may see: the last one closed before the build began, or less where a
  model above it, at whatever distance, does not take part in this build and stands further back.
-#}
{% macro cut() %}
    {{ return(cut_of(model) if execute else 0) }}
{% endmacro %}

{#- The cut of any node of the graph in this run. -#}
{% macro cut_of(node) %}
    {% set state = run_state() %}
    {% if cannot_ask() %}
        {{ return(state['cut']) }}
    {% endif %}
    {% if node.unique_id not in state['cuts'] %}
        {% set loads = [state['cut']] %}
        {% for parent in upstream_with_watermark(node) %}
            {% if parent.unique_id in selected_resources %}
                {% do loads.append(cut_of(parent)) %}
            {% else %}
                {% do loads.append(reached_by(parent)) %}
            {% endif %}
        {% endfor %}
        {% do state['cuts'].update({node.unique_id: loads | min}) %}
    {% endif %}
    {{ return(state['cuts'][node.unique_id]) }}
{% endmacro %}

{#- The load up to which a model is built that this run does not build. -#}
{% macro reached_by(node) %}
    {% set state = run_state() %}
    {% set load_id = [state['watermarks'].get(node.name, -1), -1] | max %}
    {{ return(load_id if load_id < 0 or has_news(node, load_id) else [state['cut'], load_id] | max) }}
{% endmacro %}
