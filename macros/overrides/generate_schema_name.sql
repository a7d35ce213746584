{#-
  dbt's own glues the target's schema before each; here schemas bear the names of the layers, in every environment
  (each has a catalog of its own), and nodes that are built beside them (see `begin_run`) have schemas of their own.
  It stays.
-#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ var('slim', '') if node is not none }}{{ custom_schema_name or target.schema }}
{%- endmacro %}
