{#- The strategy of tables whose rows have no key: rows are written by load, and reading a load again replaces
    what it wrote before. -#}
{% macro get_incremental_replace_loads_sql(arg_dict) %}
    {% if is_idle(none) %}
        select 'nothing has arrived' as outcome
    {% else %}
        insert into {{ arg_dict['target_relation'] }} by name
        replace where _load_id > {{ built() }} and _load_id <= {{ cut() }}
        select * from {{ arg_dict['temp_relation'] }}
    {% endif %}
{% endmacro %}

{#- As `recompute_touched`, in one pass over the new rows where a merge needs two: for tables of which nearly
    every touched row changes. The keys are told as comparisons with literals: for each value of all but the
    last the last one's values. -#}
{% macro get_incremental_replace_touched_sql(arg_dict) %}
    {% set touched = run_state()['touched'][model.unique_id] %}
    {% if not touched['ranges'] or not touched['literals'] %}
        {{ get_incremental_recompute_touched_sql(arg_dict) }}
    {% elif is_idle(touched) %}
        select 'nothing has arrived' as outcome
    {% else %}
        {% set last_values = {} %}
        {% for row in touched['literals'] %}
            {% set compared = [] %}
            {% for key in touched['keys'][:-1] %}
                {% do compared.append(key ~ ' = ' ~ row[loop.index0]) %}
            {% endfor %}
            {% do last_values.setdefault(compared | join(' and '), []).append(row[-1]) %}
        {% endfor %}
        insert into {{ arg_dict['target_relation'] }} by name
        replace where
            {{ in_ranges('', touched['ranges']) }}
            and (
                {% for compared, values in last_values.items() -%}
                ({{ compared }} and {{ touched['keys'][-1] }} in ({{ values | join(', ') }}))
                {{- ' or ' if not loop.last }}
                {%- endfor %}
            )
        select * from {{ arg_dict['temp_relation'] }}
    {% endif %}
{% endmacro %}
