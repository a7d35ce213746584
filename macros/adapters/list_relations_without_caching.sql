{#- Wraps dbt's: without an engine (DBT_LINT) there is nothing to list. -#}
{% macro list_relations_without_caching(schema_relation) %}
    {% if env_var('DBT_LINT', '') %}
        {{ return([]) }}
    {% endif %}
    {{ return(dbt.list_relations_without_caching(schema_relation)) }}
{% endmacro %}
