{#-
  Overrides dbt-spark's, which replaces each view in each build: Spark drops a view to replace it, so a
  reader that asks in that moment finds none, and it takes a third of a second. A view stays where its SQL
  and all nodes above it are as they were; a full refresh makes it anew.
-#}
{% macro spark__create_view_as(relation, sql) -%}
    {% if model.config.materialized != 'view' or model.config.contract.enforced %}
        {{ return(dbt.spark__create_view_as(relation, sql)) }}
    {% endif %}
    {% set above = nodes_above(model) %}
    {% set fingerprint = local_md5(sql ~ above.values() | sort | join) %}
    {% set existing = load_cached_relation(relation) %}
    {% if existing and existing.is_view and not should_full_refresh() and fingerprint in (existing.information or '') %}
        select 'unchanged' as outcome
    {% else %}
        create or replace view {{ relation }}
        {{ comment_clause() }}
        {# Over tables that are yet to be built as their models are, the view is to be made again. #}
        {% if above | reject('in', graph.sources) | reject('in', selected_resources) | list | length == 0 %}
        tblproperties ('lakehouse.fingerprint' = '{{ fingerprint }}')
        {% endif %}
        as
        {{ sql }}
    {% endif %}
{%- endmacro %}

{% macro databricks__create_view_as(relation, sql) -%}
    {{ return(dbt.databricks__create_view_as(relation, sql)) }}
{%- endmacro %}

{#- What decides the columns of all that a node stands on, by the ids of these: their files, and the columns
    of sources. -#}
{% macro nodes_above(node) %}
    {% set found = {} %}
    {% for parent_id in node.depends_on.nodes %}
        {% if parent_id in graph.sources %}
            {% do found.update({parent_id: tojson(graph.sources[parent_id].columns)}) %}
        {% elif parent_id in graph.nodes %}
            {% set parent = graph.nodes[parent_id] %}
            {% do found.update({parent_id: fingerprint_of(parent)}) %}
            {% do found.update(nodes_above(parent)) %}
        {% endif %}
    {% endfor %}
    {{ return(found) }}
{% endmacro %}

{#- What tells a node's file, and the types of a seed's columns, from others. -#}
{% macro fingerprint_of(node) %}
    {{ return(local_md5(node.checksum.checksum ~ tojson(node.config.get('column_types')))) }}
{% endmacro %}
