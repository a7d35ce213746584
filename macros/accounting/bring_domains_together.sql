{#-
  Run at the end of a build: the views that belong to no domain name those that are built by now, also where
  the build has not selected them, or has skipped them since a domain above them failed. Altered, not
  replaced: a reader finds them at any moment.
-#}
{% macro bring_domains_together() %}
    {% if execute and flags.WHICH in ['build', 'run'] %}
        {% for node in graph.nodes.values() if node.resource_type == 'model' and not node.config.meta.domain %}
            {% set built = [] %}
            {% for parent_id in node.depends_on.nodes %}
                {% set parent = graph.nodes[parent_id] %}
                {% set view = adapter.get_relation(parent.database, parent.schema, parent.alias) %}
                {% do built.append(view) if view %}
            {% endfor %}
            {% set query = all_of(built, node.columns) %}
            {% set existing = adapter.get_relation(node.database, node.schema, node.alias) %}
            {% if not is_view_of(existing, query) %}
                {% do run_query(
                    ('alter' if existing else 'create') ~ ' view ' ~ relation_of(node.schema, node.alias) ~ ' as ' ~ query
                ) %}
            {% endif %}
        {% endfor %}
    {% endif %}
{% endmacro %}
