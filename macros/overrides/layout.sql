{#-
  dbt-databricks 1.12: where the local engine keeps a table in partitions, Databricks clusters it, by the same columns
  and then by the one by which ranges are read. The adapter would take away in the next run what no config names: a
  layout is changed by a full refresh. They go when a table has one layout for both.
-#}
{% macro databricks__partition_cols(label, required=false) %}
    {{ return('') }}
{% endmacro %}

{% macro liquid_clustered_cols() %}
    {% set columns = config.get('partition_by') or [] %}
    {% set range = config.get('meta', {}).get('range') %}
    {% if columns %}
        {{ return('cluster by (' ~ (columns + [range] if range else columns) | join(', ') ~ ')') }}
    {% endif %}
    {{ return('') }}
{% endmacro %}

{% macro apply_liquid_clustered_cols(target_relation, liquid_clustering, existing_relation=none) %}
{% endmacro %}
