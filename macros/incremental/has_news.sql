{#-
  Whether a source that a node stands on, at whatever distance, has taken part in a load after the one
  given. Where none has, the node is as good as built up to the present load.
-#}
{% macro has_news(node, load_id) %}
    {{ return(load_id is none or last_news(node) > load_id) }}
{% endmacro %}

{#- The last load in which a source of the node took part. -#}
{% macro last_news(node) %}
    {% set state = run_state() %}
    {% if node.unique_id not in state['last_news'] %}
        {% set loads = [0] %}
        {% for parent_id in node.depends_on.nodes %}
            {% if parent_id in graph.sources %}
                {% set source = graph.sources[parent_id] %}
                {% do loads.append(state['sources'].get(source.source_name ~ '.' ~ source.name, 0)) %}
            {% elif parent_id in graph.nodes %}
                {% do loads.append(last_news(graph.nodes[parent_id])) %}
            {% endif %}
        {% endfor %}
        {% do state['last_news'].update({node.unique_id: loads | max}) %}
    {% endif %}
    {{ return(state['last_news'][node.unique_id]) }}
{% endmacro %}

{#- Whether this model, in this run, can have anything to do. -#}
{% macro has_arrivals() %}
    {% if cannot_ask() %}
        {{ return(true) }}
    {% endif %}
    {{ return(watermark() < cut() and has_news(model, watermark())) }}
{% endmacro %}
