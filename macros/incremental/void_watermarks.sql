{#-
  Run before a table is built from all loads: voids its watermark and those of all tables below it.
  A table built anew has no marks of what was removed, so what stands on it has to be built anew too;
  and a build that breaks off here must not leave a watermark that the new table does not reach.
-#}
{% macro void_watermarks() %}
    {% if execute and has_watermark(model) and not is_load_by_load() %}
        {% do void_watermarks_of([model.unique_id]) %}
    {% endif %}
{% endmacro %}

{#- Voids the watermarks of these nodes and of all tables below them, in one commit. -#}
{% macro void_watermarks_of(unique_ids) %}
    {% set watermarks = run_state()['watermarks'] %}
    {% set voided = {} %}
    {% for node in graph.nodes.values() if watermarks.get(node.name, -1) >= 0 and has_watermark(node) %}
        {% if node.unique_id in unique_ids or is_below(node, unique_ids) %}
            {% do voided.update({node.name: -1}) %}
        {% endif %}
    {% endfor %}
    {% if voided %}
        {% do run_query(insert_watermarks(voided)) %}
        {% do watermarks.update(voided) %}
    {% endif %}
{% endmacro %}

{#- Whether a node stands, at whatever distance, on one of the nodes with these ids. -#}
{% macro is_below(node, unique_ids) %}
    {% for parent_id in node.depends_on.nodes %}
        {% if parent_id in unique_ids %}
            {{ return(true) }}
        {% elif parent_id in graph.nodes and is_below(graph.nodes[parent_id], unique_ids) %}
            {{ return(true) }}
        {% endif %}
    {% endfor %}
    {{ return(false) }}
{% endmacro %}
