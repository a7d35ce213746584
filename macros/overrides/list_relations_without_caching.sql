{#-
  dbt-spark 1.11.0 asks the engine what there is. The linter (DBT_LINT) has none: nothing is built yet, or,
  with DBT_LINT=incremental, everything, so that the models take the shape of later builds.
-#}
{% macro list_relations_without_caching(schema_relation) %}
    {% if not env_var('DBT_LINT', '') %}
        {{ return(dbt.list_relations_without_caching(schema_relation)) }}
    {% endif %}
    {% set there = [] %}
    {% for node in graph.nodes.values() if env_var('DBT_LINT') == 'incremental' and node.schema == schema_relation.schema %}
        {% do there.append([node.schema, node.alias, false, 'Provider: delta\n']) %}
    {% endfor %}
    {{ return(there) }}
{% endmacro %}
