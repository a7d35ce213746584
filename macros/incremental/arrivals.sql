{#- The rows of a relation that have come or changed since the domain was built, up to the cut. -#}
{% macro arrivals(relation) -%}
    (
        select *
        from {{ relation }}
        where
            _load_id <= {{ cut() }}
            {% if is_load_by_load() -%}
            and _load_id > {{ built() }}
            {%- endif %}
    )
{%- endmacro %}

{#-
  The last load that this node may see: the one that was closed last when the run began. A test judges
  what was built, unless the run builds its whole domain; what a run with --defer builds is set beside it.
-#}
{% macro cut() %}
    {% if not execute %}
        {{ return(0) }}
    {% endif %}
    {% set state = run_state() %}
    {% if not cannot_ask() and var('slim', '') %}
        {% set domain = state['domains'][domain_of(model)] %}
        {{ return(state['cut'] if domain['built'] is none or domain['is_being_written'] else domain['built']) }}
    {% elif not cannot_ask() and model.resource_type == 'test' %}
        {% set domain = state['domains'][domain_of(model)] %}
        {{ return(state['cut'] if domain['is_whole'] else domain['built'] or 0) }}
    {% endif %}
    {{ return(state['cut']) }}
{% endmacro %}

{#- The load up to which the domain of this node was built before the run. -#}
{% macro built() %}
    {{ return(1 if cannot_ask() else run_state()['domains'][domain_of(model)]['built']) }}
{% endmacro %}

{#- The last load in which a source took part that a node stands on, at whatever distance. -#}
{% macro last_load_of(node) %}
    {% set state = run_state() %}
    {% if node.unique_id not in state['last_loads'] %}
        {% set loads = [0] %}
        {% for parent_id in node.depends_on.nodes %}
            {% if parent_id in graph.sources %}
                {% set source = graph.sources[parent_id] %}
                {% do loads.append(state['sources'].get(source.source_name ~ '.' ~ source.name, 0)) %}
            {% elif parent_id in graph.nodes %}
                {% do loads.append(last_load_of(graph.nodes[parent_id])) %}
            {% endif %}
        {% endfor %}
        {% do state['last_loads'].update({node.unique_id: loads | max}) %}
    {% endif %}
    {{ return(state['last_loads'][node.unique_id]) }}
{% endmacro %}
