{#-
  Overrides dbt-spark's closed list of strategies, to which it adds `replace_loads`: rows are written by
  load, and reading a load again replaces what it wrote before. For tables whose rows have no key. And
  `replace_touched`: the rows of the touched keys are replaced by what these yield now, in one pass over
  the source, where a merge needs two. For tables of which nearly every touched row changes.
-#}
{% macro dbt_spark_validate_get_incremental_strategy(raw_strategy, file_format) %}
    {% if raw_strategy in ['merge', 'replace_loads', 'replace_touched'] and file_format == 'delta' %}
        {{ return(raw_strategy) }}
    {% endif %}
    {% do exceptions.raise_compiler_error(
        "Model " ~ model.name ~ ": incremental_strategy '" ~ raw_strategy ~ "' with file_format '"
        ~ file_format ~ "'. Use 'merge', 'replace_loads' or 'replace_touched' with 'delta'."
    ) %}
{% endmacro %}

{% macro dbt_spark_get_incremental_sql(strategy, source, target, existing, unique_key, incremental_predicates) %}
    {% if strategy == 'replace_loads' %}
        {{ get_incremental_replace_loads_sql({'target_relation': target, 'temp_relation': source}) }}
    {% elif strategy == 'replace_touched' %}
        {{ get_incremental_replace_touched_sql({
            'target_relation': target, 'temp_relation': source, 'unique_key': unique_key
        }) }}
    {% else %}
        {{ get_merge_sql(target, source, unique_key, none, incremental_predicates) }}
    {% endif %}
{% endmacro %}

{% macro get_incremental_replace_loads_sql(arg_dict) %}
    {% if not has_arrivals() %}
        select 'nothing has arrived' as outcome
    {% else %}
        insert into {{ arg_dict['target_relation'] }} by name
        replace where _load_id > {{ watermark() }} and _load_id <= {{ cut() }}
        select * from {{ arg_dict['temp_relation'] }}
    {% endif %}
{% endmacro %}

{% macro get_incremental_replace_touched_sql(arg_dict) %}
    {% set touched = run_state()['touched'][model.unique_id] %}
    {% if not has_arrivals() or touched['literals'] == [] %}
        select 'nothing has arrived' as outcome
    {% elif not touched['ranges'] or not touched['literals'] %}
        {{ merge_arrivals(arg_dict['target_relation'], arg_dict['temp_relation'], arg_dict['unique_key']) }}
    {% else %}
        insert into {{ arg_dict['target_relation'] }} by name
        replace where
            {{ in_ranges('', touched['ranges']) }}
            and ({{ is_touched(touched) }})
        select * from {{ arg_dict['temp_relation'] }}
    {% endif %}
{% endmacro %}

{#- Whether a row's keys are touched, as comparisons with literals: for each value of all keys but the last
    the last one's values. -#}
{% macro is_touched(touched) -%}
    {%- set last_values = {} -%}
    {%- for row in touched['literals'] -%}
        {%- set compared = [] -%}
        {%- for key in touched['keys'][:-1] -%}
            {%- do compared.append(key ~ ' = ' ~ row[loop.index0]) -%}
        {%- endfor -%}
        {%- do last_values.setdefault(compared | join(' and '), []).append(row[-1]) -%}
    {%- endfor -%}
    {%- for compared, values in last_values.items() -%}
        ({{ compared }} and {{ touched['keys'][-1] }} in ({{ values | join(', ') }})){{ ' or ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
