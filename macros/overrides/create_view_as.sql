{#-
  dbt-spark 1.11.0 replaces a view; Spark drops it first, so a reader that asks in that moment finds none. A
  view that is there is left as it is, or altered; but for one with a contract, whose columns' descriptions
  only a new one has. It can go when Spark replaces views in one step.
-#}
{% macro spark__create_view_as(relation, sql) -%}
    {% set existing = load_cached_relation(relation) %}
    {% if is_view_of(existing, sql | trim) and not should_full_refresh() %}
        select 'unchanged'
    {% elif existing and existing.is_view and not model.config.contract.enforced %}
        alter view {{ relation }} as {{ sql }}
    {% else %}
        {{ dbt.spark__create_view_as(relation, sql) }}
    {% endif %}
{%- endmacro %}

{% macro databricks__create_view_as(relation, sql) -%}
    {{ return(dbt.databricks__create_view_as(relation, sql)) }}
{%- endmacro %}

{#- Whether a relation, as dbt has listed it, is the view of a query. -#}
{% macro is_view_of(relation, query) %}
    {{ return(relation is not none and ('View Text: ' ~ query ~ '\n') in (relation.information or '')) }}
{% endmacro %}
