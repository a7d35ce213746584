{#-
  The two macros that load a seed, neither of which does anything where the table holds the file as it is:
  dbt-spark's drop and write the table in each build, and a reader in between finds none or an empty one.
-#}
{% macro spark__reset_csv_table(model, full_refresh, old_relation, agate_table) %}
    {% if is_loaded(model) %}
        {{ return('') }}
    {% endif %}
    {{ return(dbt.spark__reset_csv_table(model, full_refresh, old_relation, agate_table)) }}
{% endmacro %}

{% macro databricks__reset_csv_table(model, full_refresh, old_relation, agate_table) %}
    {{ return(dbt.databricks__reset_csv_table(model, full_refresh, old_relation, agate_table)) }}
{% endmacro %}

{% macro spark__load_csv_rows(model, agate_table) %}
    {% if is_loaded(model) %}
        {{ return('') }}
    {% endif %}
    {{ return(dbt.spark__load_csv_rows(model, agate_table)) }}
{% endmacro %}

{% macro databricks__load_csv_rows(model, agate_table) %}
    {{ return(dbt.databricks__load_csv_rows(model, agate_table)) }}
{% endmacro %}

{#- Run after a seed was loaded: writes down of which file. Before it, the table counts as not loaded. -#}
{% macro record_seed() %}
    {% if execute and target.type == 'spark' and not is_loaded(model) %}
        {% do run_query(
            'alter table ' ~ this ~ " set tblproperties ('lakehouse.fingerprint' = '" ~ fingerprint_of(model) ~ "')"
        ) %}
    {% endif %}
{% endmacro %}

{#- Whether a seed's table holds its file as it is; asked once a run. Of a file over 1 MiB dbt knows its path
    only. -#}
{% macro is_loaded(seed) %}
    {% set loaded = run_state()['loaded'] %}
    {% if seed.name not in loaded %}
        {% do loaded.update({seed.name: false}) %}
        {% if load_cached_relation(this) and seed.checksum.name == 'sha256' and not should_full_refresh() %}
            {% set found = run_query('show tblproperties ' ~ this ~ " ('lakehouse.fingerprint')") %}
            {% do loaded.update({seed.name: found.rows[0][1] == fingerprint_of(seed)}) %}
        {% endif %}
    {% endif %}
    {{ return(loaded[seed.name]) }}
{% endmacro %}
