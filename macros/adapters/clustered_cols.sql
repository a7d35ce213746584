{#- Overrides dbt-spark's, which ignores `clustered_by` without buckets: Delta clusters by columns. -#}
{% macro spark__clustered_cols(label, required=false) -%}
    {%- set columns = config.get('clustered_by') -%}
    {%- if columns %}
    cluster by ({{ columns if columns is string else columns | join(', ') }})
    {%- endif %}
{%- endmacro %}
