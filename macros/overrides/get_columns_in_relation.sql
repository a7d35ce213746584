{#-
  dbt-spark 1.11.0 lists the helper rows of `describe extended` as columns; the snapshot materialization asks it.
  It can go when dbt-spark leaves them out.
-#}
{% macro spark__get_columns_in_relation(relation) -%}
    {{ return(adapter.get_columns_in_relation(relation)) }}
{%- endmacro %}

{% macro databricks__get_columns_in_relation(relation) -%}
    {{ return(dbt.spark__get_columns_in_relation(relation)) }}
{%- endmacro %}
