{#-
  What the models of one invocation share: the build's cut, the models' watermarks, and the keys that
  each model finds touched. dbt hands every node the same `graph`, so the two audit tables are asked
  once an invocation, not once a model. Where it cannot be asked, load 1 has been seen and load 2 come.
-#}
{% macro run_state() %}
    {% if cannot_ask() %}
        {{ return({'cut': 2, 'watermarks': {}, 'touched': graph.setdefault('touched', {})}) }}
    {% endif %}
    {% set key = 'lakehouse_run_state_' ~ invocation_id %}
    {% if key not in graph %}
        {% do create_audit_tables() %}
        {% set audit = generate_schema_name('audit', none) | trim %}
        {% set asked %}
            select
                cast(null as string) as model,
                coalesce(max(load_id), 0) as load_id
            from {{ audit }}.loads
            where
                status = 'closed'
                and recorded_at < timestamp '{{ run_started_at.strftime("%Y-%m-%d %H:%M:%S.%f") }}+00:00'
            union all
            select
                model,
                max_by(load_id, recorded_at) as load_id
            from {{ audit }}.watermarks
            group by model
        {% endset %}
        {% set state = {'cut': 0, 'cuts': {}, 'watermarks': {}, 'touched': {}} %}
        {% for row in run_query(asked) %}
            {% if row[0] is none %}
                {% do state.update({'cut': row[1] | int}) %}
            {% elif row[1] is not none %}
                {% do state['watermarks'].update({row[0]: row[1] | int}) %}
            {% endif %}
        {% endfor %}
        {# Two threads may have asked at once; the first answer counts for both. #}
        {% do graph.setdefault(key, state) %}
    {% endif %}
    {{ return(graph[key]) }}
{% endmacro %}

{#- Whether the SQL is made where the database cannot be asked: for a unit test, whose inputs are CTEs,
    or for the linter (DBT_LINT), which runs without an engine. -#}
{% macro cannot_ask() %}
    {{ return(
        (model is defined and model.resource_type == 'unit_test') or env_var('DBT_LINT', '') != ''
    ) }}
{% endmacro %}
