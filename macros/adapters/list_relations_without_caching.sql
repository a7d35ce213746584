{#- Wraps dbt's: without an engine (DBT_LINT) there is nothing to list, and the live loop (see `is_live`)
    asks for the tables it builds, which takes a tenth of the time that all of them take. -#}
{% macro list_relations_without_caching(schema_relation) %}
    {% if env_var('DBT_LINT', '') %}
        {{ return([]) }}
    {% elif is_live() %}
        {% set live = [] %}
        {% for node in graph.nodes.values() if 'live' in node.tags %}
            {% do live.append(node.name) %}
        {% endfor %}
        {{ return(run_query(
            'show table extended in ' ~ schema_relation.schema ~ " like '" ~ live | join('|') ~ "'"
        )) }}
    {% endif %}
    {{ return(dbt.list_relations_without_caching(schema_relation)) }}
{% endmacro %}

{#- Wraps dbt's: the live loop works in schemas that are there, since all was built before it. -#}
{% macro list_schemas(database) %}
    {% if is_live() %}
        {{ return([
            [generate_schema_name('silver', none) | trim], [generate_schema_name('gold_build', none) | trim]
        ]) }}
    {% endif %}
    {{ return(dbt.list_schemas(database)) }}
{% endmacro %}
