{#- Wraps dbt's: without an engine, DBT_LINT says which shape the models take, that of a first build
    (DBT_LINT=1) or that of the builds after it (DBT_LINT=incremental). -#}
{% macro is_incremental() %}
    {% if env_var('DBT_LINT', '') %}
        {{ return(env_var('DBT_LINT') == 'incremental') }}
    {% endif %}
    {{ return(dbt.is_incremental()) }}
{% endmacro %}
