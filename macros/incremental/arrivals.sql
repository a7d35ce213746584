{#- The rows of a relation that have come or changed since this model last looked, up to its cut. -#}
{% macro arrivals(relation) -%}
    (
        select *
        from {{ relation }}
        where
            _load_id <= {{ cut() }}
            {% if is_load_by_load() -%}
            and _load_id > {{ watermark() }}
            {% if not cannot_ask() and not has_news(node_of(relation), watermark()) %}and false{% endif %}
            {%- endif %}
    )
{%- endmacro %}

{#- The model, seed or snapshot behind a relation. -#}
{% macro node_of(relation) %}
    {% for node in graph.nodes.values() if node.name == relation.identifier %}
        {{ return(node) }}
    {% endfor %}
{% endmacro %}
