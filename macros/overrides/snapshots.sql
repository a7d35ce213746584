{#-
  dbt 1.11, dbt-spark 1.11.0 and dbt-databricks 1.12 know no strategy that keeps every change that a source tells. The
  three macros that carry a snapshot have a branch for `change_log`; every other strategy goes to the adapter's own. They
  can go when a strategy may bring its own statements.
-#}
{% macro spark__build_snapshot_table(strategy, sql) %}
    {% if strategy.name == 'change_log' %}
        {{ change_log_versions(strategy, sql) }}
    {% else %}
        {{ default__build_snapshot_table(strategy, sql) }}
    {% endif %}
{% endmacro %}

{% macro databricks__build_snapshot_table(strategy, sql) %}
    {% if strategy.name == 'change_log' %}
        {{ change_log_versions(strategy, sql) }}
    {% else %}
        {{ dbt.databricks__build_snapshot_table(strategy, sql) }}
    {% endif %}
{% endmacro %}

{% macro spark__snapshot_staging_table(strategy, source_sql, target_relation) %}
    {% if strategy.name == 'change_log' %}
        {{ change_log_news(strategy, source_sql) }}
    {% else %}
        {{ default__snapshot_staging_table(strategy, source_sql, target_relation) }}
    {% endif %}
{% endmacro %}

{% macro databricks__snapshot_staging_table(strategy, source_sql, target_relation) %}
    {% if strategy.name == 'change_log' %}
        {{ change_log_news(strategy, source_sql) }}
    {% else %}
        {{ dbt.databricks__snapshot_staging_table(strategy, source_sql, target_relation) }}
    {% endif %}
{% endmacro %}

{% macro spark__snapshot_merge_sql(target, source, insert_cols) %}
    {% if config.get('strategy') == 'change_log' %}
        {{ change_log_merge(target, source) }}
    {% else %}
        {{ dbt.spark__snapshot_merge_sql(target, source, insert_cols) }}
    {% endif %}
{% endmacro %}

{% macro databricks__snapshot_merge_sql(target, source, insert_cols) %}
    {% if config.get('strategy') == 'change_log' %}
        {{ change_log_merge(target, source) }}
    {% else %}
        {{ dbt.databricks__snapshot_merge_sql(target, source, insert_cols) }}
    {% endif %}
{% endmacro %}
