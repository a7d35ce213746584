{#-
  What the models of one invocation share: the build's cut, how far each model has come and with what
  report time, when each source last took part in a load and how many rows came, and the keys that each
  model finds touched.
  dbt hands every node the same `graph`, so the audit tables are asked once an invocation, not once a
  model; the live loop, which knows, hands the answer in (LAKEHOUSE_RUN_STATE). Where it cannot be
  asked, load 1 has been seen and load 2 come.
-#}
{% macro run_state() %}
    {% if cannot_ask() %}
        {{ return({'cut': 2, 'watermarks': {}, 'touched': graph.setdefault('touched', {})}) }}
    {% endif %}
    {% set key = 'lakehouse_run_state_' ~ invocation_id %}
    {% if key not in graph %}
        {% set handed_in = env_var('LAKEHOUSE_RUN_STATE', '') %}
        {% set state = fromjson(handed_in) if handed_in else asked_state() %}
        {% do state.update({
            'cuts': {}, 'touched': {}, 'last_news': {}, 'as_of': {}, 'as_ofs_reached': {},
            'versions': {}, 'feeds_reached': {}, 'ranges': {}, 'loaded': {},
            'interpreted': {},
            'watermarks_before': state['watermarks'].copy(),
        }) %}
        {# Two threads may have asked at once; the first answer counts for both. #}
        {% do graph.setdefault(key, state) %}
    {% endif %}
    {{ return(graph[key]) }}
{% endmacro %}

{#- The part of the state that the audit tables know. -#}
{% macro asked_state() %}
    {% do create_audit_tables() %}
    {% set audit = generate_schema_name('audit', none) | trim %}
    {% set asked %}
        select
            'cut' as kind,
            'all' as name,
            coalesce(max(load_id), 0) as load_id,
            cast(null as string) as as_of,
            cast(null as bigint) as feed_version
        from {{ audit }}.loads
        where
            status = 'closed'
            and recorded_at < timestamp '{{ run_started_at.strftime("%Y-%m-%d %H:%M:%S.%f") }}+00:00'
        union all
        select
            'sources',
            source,
            max(load_id),
            null,
            null
        from {{ audit }}.loads
        where source is not null
        group by source
        union all
        select
            'watermarks',
            model,
            max_by(load_id, recorded_at),
            max_by({{ literal_of('as_of') }}, recorded_at),
            max_by(feed_version, recorded_at)
        from {{ audit }}.watermarks
        group by model
        union all
        select
            'all rows',
            null,
            {# Of a load that was not closed nobody knows. #}
            if(count(*) = max(load_id), sum(num_rows), null),
            null,
            null
        from {{ audit }}.loads
        where status = 'closed'
        union all
        select
            'rows of load',
            cast(load_id as string),
            num_rows,
            null,
            null
        from (
            select
                load_id,
                num_rows
            from {{ audit }}.loads
            where status = 'closed'
            order by load_id desc
            limit 100
        )
    {% endset %}
    {% set state = {
        'cut': 0, 'sources': {}, 'watermarks': {}, 'as_ofs': {}, 'feeds': {}, 'num_rows': none, 'recent_rows': []
    } %}
    {% for kind, name, load_id, as_of, feed_version in run_query(asked).rows %}
        {% if kind == 'cut' %}
            {% do state.update({'cut': load_id | int}) %}
        {% elif kind == 'sources' %}
            {% do state['sources'].update({name: load_id | int}) %}
        {% elif kind == 'all rows' %}
            {% do state.update({'num_rows': load_id | int if load_id is not none else none}) %}
        {% elif kind == 'rows of load' %}
            {% do state['recent_rows'].append([name | int, load_id | int]) %}
        {% else %}
            {% do state['watermarks'].update({name: load_id | int}) %}
            {% do state['as_ofs'].update({name: as_of}) %}
            {% do state['feeds'].update({name: feed_version | int if feed_version is not none else none}) %}
        {% endif %}
    {% endfor %}
    {{ return(state) }}
{% endmacro %}

{#- Whether the SQL is made where the database cannot be asked: for a unit test, whose inputs are CTEs,
    or for the linter (DBT_LINT), which runs without an engine. -#}
{% macro cannot_ask() %}
    {{ return(
        (model is defined and model.resource_type == 'unit_test') or env_var('DBT_LINT', '') != ''
    ) }}
{% endmacro %}
