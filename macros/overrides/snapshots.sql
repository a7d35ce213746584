{#-
  dbt 1.11 and dbt-spark 1.11.0 know no strategy that keeps every change that a source tells. The three macros that
  carry a snapshot have a branch for `change_log`; every other strategy goes to the adapter's own. They can go when
  a strategy may bring its own statements.
-#}
{% macro spark__build_snapshot_table(strategy, sql) %}
    {% if strategy.name == 'change_log' %}
        {{ change_log_versions(strategy, sql) }}
    {% else %}
        {{ default__build_snapshot_table(strategy, sql) }}
    {% endif %}
{% endmacro %}

{% macro spark__snapshot_staging_table(strategy, source_sql, target_relation) %}
    {% if strategy.name == 'change_log' %}
        select
            *,
            'insert' as dbt_change_type
        from ({{ change_log_versions(strategy, source_sql) }}) as versions
    {% else %}
        {{ default__snapshot_staging_table(strategy, source_sql, target_relation) }}
    {% endif %}
{% endmacro %}

{% macro spark__snapshot_merge_sql(target, source, insert_cols) %}
    {% if config.get('strategy') == 'change_log' %}
        {{ merge_sql(
            target, source, 'dbt_scd_id', removes=true,
            predicate=touched_predicate('target', 'and ') if is_load_by_load() else ''
        ) }}
    {% else %}
        {{ dbt.spark__snapshot_merge_sql(target, source, insert_cols) }}
    {% endif %}
{% endmacro %}
