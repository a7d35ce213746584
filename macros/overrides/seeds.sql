{#-
  dbt-spark 1.11.0 drops and writes a seed's table in each run, and a reader in between finds none or an empty
  one; dbt-databricks 1.12 empties it first. A seed whose table holds its file is left as it is: a change of the file is
  refused but by a full refresh of the domain (see `begin_run`), so all that is not pending holds it. They can go when
  dbt compares.
-#}
{% macro spark__reset_csv_table(model, full_refresh, old_relation, agate_table) %}
    {{ return(dbt.spark__reset_csv_table(model, full_refresh, old_relation, agate_table) if is_pending(model) else '') }}
{% endmacro %}

{% macro spark__load_csv_rows(model, agate_table) %}
    {{ return(dbt.spark__load_csv_rows(model, agate_table) if is_pending(model) else '') }}
{% endmacro %}

{% macro databricks__reset_csv_table(model, full_refresh, old_relation, agate_table) %}
    {{ return(dbt.databricks__reset_csv_table(model, full_refresh, old_relation, agate_table) if is_pending(model) else '') }}
{% endmacro %}

{% macro databricks__load_csv_rows(model, agate_table) %}
    {{ return(dbt.databricks__load_csv_rows(model, agate_table) if is_pending(model) else '') }}
{% endmacro %}
