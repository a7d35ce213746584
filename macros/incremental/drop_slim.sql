{#- Drops the schemas in which a run with --defer has built (see `begin_run`), by `dbt run-operation`. -#}
{% macro drop_slim() %}
    {% for schema in graph.nodes.values() | map(attribute='schema') | unique if var('slim', '') and schema.startswith(var('slim')) %}
        {% do adapter.drop_schema(relation_of(schema, none).without_identifier()) %}
    {% endfor %}
{% endmacro %}
