{#- Overrides dbt-spark's: Delta cannot make an existing column `not null`, but it can check it. The
    table stands already, so it is asked once, when it is built, not at every merge. -#}
{% macro spark__alter_column_set_constraints(relation, column_dict) %}
    {% for name, column in column_dict.items() %}
        {% for constraint in column['constraints'] if constraint.type == 'not_null' and not is_incremental() %}
            {% do run_query(
                'alter table ' ~ relation ~ ' add constraint ' ~ name ~ '_not_null check (' ~ name ~ ' is not null)'
            ) %}
        {% endfor %}
    {% endfor %}
{% endmacro %}
