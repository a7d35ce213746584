{#-
  Overrides dbt-spark's closed list of strategies, to which it adds `replace_loads`: rows are written by
  load, and reading a load again replaces what it wrote before. For tables whose rows have no key.
-#}
{% macro dbt_spark_validate_get_incremental_strategy(raw_strategy, file_format) %}
    {% if raw_strategy in ['merge', 'replace_loads'] and file_format == 'delta' %}
        {{ return(raw_strategy) }}
    {% endif %}
    {% do exceptions.raise_compiler_error(
        "Model " ~ model.name ~ ": incremental_strategy '" ~ raw_strategy ~ "' with file_format '"
        ~ file_format ~ "'. Use 'merge' or 'replace_loads' with 'delta'."
    ) %}
{% endmacro %}

{% macro dbt_spark_get_incremental_sql(strategy, source, target, existing, unique_key, incremental_predicates) %}
    {% if strategy == 'replace_loads' %}
        {{ get_incremental_replace_loads_sql({'target_relation': target, 'temp_relation': source}) }}
    {% else %}
        {{ get_merge_sql(target, source, unique_key, none, incremental_predicates) }}
    {% endif %}
{% endmacro %}

{% macro get_incremental_replace_loads_sql(arg_dict) %}
    {% if watermark() >= cut() %}
        select 'nothing has arrived' as outcome
    {% else %}
        insert into {{ arg_dict['target_relation'] }} by name
        replace where _load_id > {{ watermark() }} and _load_id <= {{ cut() }}
        select * from {{ arg_dict['temp_relation'] }}
    {% endif %}
{% endmacro %}
