{#- The nearest models above a node that keep a watermark; views in between keep none. -#}
{% macro upstream_with_watermark(node) %}
    {% set found = [] %}
    {% for parent_id in node.depends_on.nodes %}
        {% set parent = graph.nodes.get(parent_id) %}
        {% if parent and has_watermark(parent) %}
            {% do found.append(parent) %}
        {% elif parent %}
            {% do found.extend(upstream_with_watermark(parent)) %}
        {% endif %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}
