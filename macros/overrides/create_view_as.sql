{#-
  dbt-spark 1.11.0 replaces a view; Spark drops it first, so a reader that asks in that moment finds none. A
  view that is there is altered. It can go when Spark replaces views in one step.
-#}
{% macro spark__create_view_as(relation, sql) -%}
    {% set existing = load_cached_relation(relation) %}
    {% if existing and existing.is_view and not model.config.contract.enforced %}
        alter view {{ relation }} as {{ sql }}
    {% else %}
        {{ dbt.spark__create_view_as(relation, sql) }}
    {% endif %}
{%- endmacro %}

{% macro databricks__create_view_as(relation, sql) -%}
    {{ return(dbt.databricks__create_view_as(relation, sql)) }}
{%- endmacro %}
