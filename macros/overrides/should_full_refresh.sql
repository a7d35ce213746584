{#-
  dbt 1.11: what has to be built anew (see `begin_run`) is built from all loads, asked for or not. It can go
  when dbt lets a project decide this.
-#}
{% macro should_full_refresh() %}
    {{ return(dbt.should_full_refresh() or (execute and is_pending(model))) }}
{% endmacro %}
