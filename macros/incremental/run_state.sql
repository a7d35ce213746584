{#-
  What the nodes of one invocation share, the one thing of ours in dbt's `graph`, which dbt hands to every
  node: the cut, the last load of each source, where each domain stands (the newest row of `audit.domains`),
  and the keys that each model finds touched. Asked once, before any node runs; where no hook has run
  (`compile`, `show`, `docs`) by the first node that needs it. Where it cannot be asked, load 1 has been
  built and load 2 come.
-#}
{% macro run_state() %}
    {% if cannot_ask() %}
        {{ return({'cut': 2, 'touched': graph.setdefault('lakehouse', {}).setdefault('touched', {}), 'idle': []}) }}
    {% endif %}
    {% if graph.get('lakehouse', {}).get('invocation_id') != invocation_id %}
        {% set state = asked_state() %}
        {% for domain in state['domains'].values() if var('slim', '') %}
            {% do domain.update({'live': live_from_the_beginning()}) %}
        {% endfor %}
        {% do state.update({
            'invocation_id': invocation_id, 'last_loads': {}, 'touched': {}, 'versions': {}, 'idle': [], 'altered': []
        }) %}
        {% do graph.update({'lakehouse': state}) %}
    {% endif %}
    {{ return(graph['lakehouse']) }}
{% endmacro %}

{#- The part of the state that the audit tables know. -#}
{% macro asked_state() %}
    {% set domains = audit_table('domains') %}
    {% if not load_cached_relation(domains) %}
        {% do run_query('create schema if not exists ' ~ domains.without_identifier()) %}
        {% do run_query(
            'create table if not exists ' ~ domains ~ ' (domain string, number bigint, built bigint, '
            ~ 'published bigint, state string, invocation_id string, recorded_at timestamp) using delta'
        ) %}
    {% endif %}
    {% set asked %}
        select
            'source' as kind,
            source as name,
            max(load_id) as number,
            cast(null as bigint) as built,
            cast(null as bigint) as published,
            cast(null as string) as state
        from {{ audit_table('loads') }}
        group by source
        union all
        select
            'domain',
            domain,
            number,
            built,
            published,
            state
        from {{ domains }}
        qualify row_number() over (partition by domain order by number desc, recorded_at desc) = 1
    {% endset %}
    {% set state = {'sources': {}, 'domains': {}} %}
    {% for domain in var('domains') %}
        {% do state['domains'].update({domain: {
            'number': 0, 'built': none, 'published': none, 'basis': {}, 'is_being_written': false,
            'pending': [], 'as_of': none, 'feeds': {}, 'marts': {}, 'gold': {}, 'held': none,
            'live': live_from_the_beginning(), 'is_whole': false
        }}) %}
    {% endfor %}
    {% for kind, name, number, built, published, remembered in run_query(asked).rows %}
        {% if kind == 'source' %}
            {% do state['sources'].update({name: number | int}) %}
        {% elif name in state['domains'] %}
            {% do state['domains'][name].update(fromjson(remembered)) %}
            {% do state['domains'][name].update({
                'number': number | int,
                'built': built | int if built is not none else none,
                'published': published | int if published is not none else none
            }) %}
        {% endif %}
    {% endfor %}
    {# The rows that close a load, and they alone, have no source. #}
    {% do state.update({'cut': state['sources'].pop(none, 0)}) %}
    {% if state['sources'].values() | select('gt', state['cut']) | first is defined %}
        {# A load is open, which the cut leaves out. #}
        {% do state['sources'].clear() %}
        {% for name, number in run_query(
            'select source, max(load_id) from ' ~ audit_table('loads')
            ~ ' where source is not null and load_id <= ' ~ state['cut'] ~ ' group by source'
        ).rows %}
            {% do state['sources'].update({name: number | int}) %}
        {% endfor %}
    {% endif %}
    {{ return(state) }}
{% endmacro %}

{#- A table of the schema `audit` that is no node: `loads`, `domains` or `run_results`. -#}
{% macro audit_table(name) %}
    {{ return(relation_of('audit', name)) }}
{% endmacro %}

{#- A table or view by the names of its schema and itself, in the catalog of the target where there are catalogs. -#}
{% macro relation_of(schema, name) %}
    {{ return(api.Relation.create(database=target.get('database'), schema=schema, identifier=name)) }}
{% endmacro %}

{#- Appends where a domain stands now, in one row. -#}
{% macro record(name) %}
    {% set domain = run_state()['domains'][name] %}
    {% do domain.update({'number': domain['number'] + 1}) %}
    {% set remembered = {} %}
    {% for part in ['basis', 'is_being_written', 'pending', 'as_of', 'feeds', 'marts', 'gold', 'held', 'live'] %}
        {% do remembered.update({part: domain[part]}) %}
    {% endfor %}
    {% do run_query(
        'insert into ' ~ audit_table('domains') ~ " values ('" ~ name ~ "', "
        ~ domain['number'] ~ ', ' ~ (domain['built'] if domain['built'] is not none else 'null') ~ ', '
        ~ (domain['published'] if domain['published'] is not none else 'null') ~ ", '"
        ~ quoted(tojson(remembered)) ~ "', '" ~ invocation_id ~ "', current_timestamp())"
    ) %}
{% endmacro %}

{#- Whether the SQL is made where the database cannot be asked: for a unit test, whose inputs are CTEs,
    or for the linter (DBT_LINT), which runs without an engine. -#}
{% macro cannot_ask() %}
    {{ return(
        (model is defined and model.resource_type == 'unit_test') or env_var('DBT_LINT', '') != ''
    ) }}
{% endmacro %}
