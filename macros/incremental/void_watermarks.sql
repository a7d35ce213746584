{#-
  Run before a table is built from all loads: voids its watermark and those of all tables below it.
  A table built anew has no marks of what was removed, so what stands on it has to be built anew too;
  and a build that breaks off here must not leave a watermark that the new table does not reach.
-#}
{% macro void_watermarks() %}
    {% if execute and has_watermark(model) and not is_load_by_load() %}
        {% set state = run_state() %}
        {% set names = [model.name] %}
        {% for node in graph.nodes.values() if has_watermark(node) and is_below(node, model.unique_id) %}
            {% do names.append(node.name) %}
        {% endfor %}
        {% set voided = {} %}
        {% for name in names if state['watermarks'].get(name, -1) >= 0 %}
            {% do voided.update({name: -1}) %}
        {% endfor %}
        {% if voided %}
            {% do run_query(insert_watermarks(voided)) %}
            {% do state['watermarks'].update(voided) %}
        {% endif %}
    {% endif %}
{% endmacro %}

{#- Whether a node stands, at whatever distance, on the node with this id. -#}
{% macro is_below(node, unique_id) %}
    {% for parent_id in node.depends_on.nodes %}
        {% if parent_id == unique_id %}
            {{ return(true) }}
        {% elif parent_id in graph.nodes and is_below(graph.nodes[parent_id], unique_id) %}
            {{ return(true) }}
        {% endif %}
    {% endfor %}
    {{ return(false) }}
{% endmacro %}
