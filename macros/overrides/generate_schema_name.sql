{#- dbt's own glues the target's schema before each; here schemas bear the names of the layers. It stays. -#}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ var('environment', '') }}{{ custom_schema_name or target.schema }}
{%- endmacro %}
