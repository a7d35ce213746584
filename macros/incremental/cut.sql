{#-
  The last load that this model may see: the last one closed before the build began, or, where a model
  above it does not take part in this build, the load up to which that one stands.
-#}
{% macro cut() %}
    {{ return(cut_of(model) if execute else 0) }}
{% endmacro %}

{#- The cut of any node of the graph in this run. -#}
{% macro cut_of(node) %}
    {% set state = run_state() %}
    {% set loads = [state['cut']] %}
    {% for parent in ([] if cannot_ask() else upstream_with_watermark(node)) if parent.unique_id not in selected_resources %}
        {% do loads.append([state['watermarks'].get(parent.name, 0), 0] | max) %}
    {% endfor %}
    {{ return(loads | min) }}
{% endmacro %}
