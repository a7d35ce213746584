{#-
  dbt-spark 1.11.0: its list of incremental strategies is closed. These two let a strategy of the project by,
  a macro `get_incremental_<name>_sql` as dbt's own adapters have it; all others go to dbt-spark's. They can go
  when dbt-spark asks `adapter.get_incremental_strategy_macro`, as dbt-databricks does.
-#}
{% macro dbt_spark_validate_get_incremental_strategy(raw_strategy, file_format) %}
    {% if context.get('get_incremental_' ~ raw_strategy ~ '_sql') and file_format == 'delta' %}
        {{ return(raw_strategy) }}
    {% endif %}
    {{ return(dbt.dbt_spark_validate_get_incremental_strategy(raw_strategy, file_format)) }}
{% endmacro %}

{% macro dbt_spark_get_incremental_sql(strategy, source, target, existing, unique_key, incremental_predicates) %}
    {% set of_project = context.get('get_incremental_' ~ strategy ~ '_sql') %}
    {% if of_project and strategy not in ['append', 'merge', 'insert_overwrite', 'microbatch'] %}
        {{ return(of_project({'target_relation': target, 'temp_relation': source, 'unique_key': unique_key})) }}
    {% endif %}
    {{ return(dbt.dbt_spark_get_incremental_sql(strategy, source, target, existing, unique_key, incremental_predicates)) }}
{% endmacro %}
