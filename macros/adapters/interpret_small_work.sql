{#-
  Lets the statements of this model be interpreted where few rows have come for it: Spark compiles each
  statement, and Java its code, which for small work costs more than all the rest. A session of dbt's is
  of one node, so nothing has to be set back.
-#}
{% macro interpret_small_work() %}
    {% if execute and not cannot_ask() %}
        {% set rows = rows_to_read() %}
        {% if rows and rows <= var('small_work_rows') %}
            {% do interpret() %}
        {% endif %}
    {% endif %}
{% endmacro %}

{#- Lets the statements that follow in this session be interpreted; the live loop's are from the start. -#}
{% macro interpret() %}
    {% if target.type == 'spark' and not is_live() %}
        {% do run_query('set spark.sql.codegen.wholeStage = false') %}
        {% do run_query('set spark.sql.codegen.factoryMode = NO_CODEGEN') %}
    {% endif %}
{% endmacro %}

{#- How many rows have come for this model, of all sources; none where that is long ago. -#}
{% macro rows_to_read() %}
    {% set state = run_state() %}
    {% if not is_load_by_load() %}
        {{ return(state['num_rows']) }}
    {% endif %}
    {% set recent = state['recent_rows'] %}
    {% if recent and (recent | map(attribute=0) | min) > watermark() + 1 %}
        {{ return(none) }}
    {% endif %}
    {% set rows = [0] %}
    {% for load_id, num_rows in recent if load_id > watermark() %}
        {% do rows.append(num_rows) %}
    {% endfor %}
    {{ return(rows | sum) }}
{% endmacro %}
