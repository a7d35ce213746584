{#- The tables that dbt itself keeps beside those of ingestion: how far each model has come, and which
    version of each mart readers see. -#}
{% macro create_audit_tables() %}
    {% set audit = generate_schema_name('audit', none) | trim %}
    {% do run_query('create schema if not exists ' ~ audit) %}
    {% do run_query(
        'create table if not exists ' ~ audit ~ '.watermarks '
        ~ '(model string, load_id bigint, as_of timestamp, feed_version bigint, invocation_id string, '
        ~ 'recorded_at timestamp) using delta'
    ) %}
    {% do run_query(
        'create table if not exists ' ~ audit ~ '.publications '
        ~ '(mart string, version bigint, load_id bigint, invocation_id string, '
        ~ 'published_at timestamp) using delta'
    ) %}
{% endmacro %}
