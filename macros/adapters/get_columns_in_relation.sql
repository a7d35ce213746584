{#- Overrides dbt-spark's, which lists the helper rows of `describe extended` as columns. -#}
{% macro spark__get_columns_in_relation(relation) -%}
    {{ return(adapter.get_columns_in_relation(relation)) }}
{%- endmacro %}
