{#-
  Lets the statements of this model be interpreted where few rows have come for it: Spark compiles each
  statement, and Java its code, which for small work costs more than all the rest. Not where the rows touch
  so many keys that these are no literals. A session of dbt's is of one node, so nothing has to be set back
  for the next.
-#}
{% macro interpret_small_work() %}
    {% if execute and not cannot_ask() and (not is_load_by_load() or has_arrivals()) %}
        {% set state = run_state() %}
        {% set rows = rows_arrived() %}
        {% set touched = state['touched'].get(model.unique_id) %}
        {% set is_small = rows is not none and rows <= var('small_work_rows') %}
        {% set is_wanted = is_small and not (touched and touched['literals'] is none) %}
        {% if is_wanted != (model.unique_id in state['interpreted']) %}
            {% do interpret(is_wanted) %}
            {% do state['interpreted'].update({model.unique_id: true}) %}
        {% endif %}
    {% endif %}
{% endmacro %}

{#- Has the statements that follow in this session interpreted, or compiled; the live loop's always are
    interpreted. -#}
{% macro interpret(is_wanted) %}
    {% if target.type == 'spark' and not is_live() %}
        {% do run_query('set spark.sql.codegen.wholeStage = ' ~ ('false' if is_wanted else 'true')) %}
        {% do run_query('set spark.sql.codegen.factoryMode = ' ~ ('NO_CODEGEN' if is_wanted else 'FALLBACK')) %}
    {% endif %}
{% endmacro %}

{#- How many rows have come for this model, of all sources; none where that is not known: it is long ago, or
    a load was not closed. -#}
{% macro rows_arrived() %}
    {% set state = run_state() %}
    {% if not is_load_by_load() %}
        {{ return(state['num_rows']) }}
    {% endif %}
    {% set rows = [] %}
    {% for load_id, num_rows in state['recent_rows'] if load_id > watermark() and load_id <= cut() %}
        {% do rows.append(num_rows) %}
    {% endfor %}
    {{ return(rows | sum if rows | length == cut() - watermark() else none) }}
{% endmacro %}
