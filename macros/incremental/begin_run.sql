{#-
  Before any node runs: asks where the domains stand, refuses what would mix two sets of vars or seeds, and
  writes down of each domain that tables of it will be written, and which are to be built anew: all below
  them has to be built anew with them, in this run or the next, however this one ends. Live views read from
  the beginning until what they stand on is built.

  A run with --defer has schemas of its own (the var `slim`), builds all in them from what the tables beside them
  have come to, and moves nothing.
-#}
{% macro begin_run() %}
    {% if invocation_args_dict.get('defer') and not var('slim', '') %}
        {% do exceptions.raise_compiler_error(
            '--defer reads tables of another state, and would write among these. Give it schemas of its own: make slim'
        ) %}
    {% endif %}
    {% if execute and not var('slim', '') %}
        {% do refuse_what_is_not_built() %}
        {% set state = run_state() %}
        {% if flags.WHICH in ['build', 'run', 'seed', 'snapshot'] %}
            {% set selected = graph.nodes.values() | selectattr('unique_id', 'in', selected_resources) | list %}
            {% for name, domain in state['domains'].items() %}
                {% do begin_domain(name, domain, selected) %}
            {% endfor %}
            {% do show_published(is_begin=true) %}
        {% endif %}
    {% endif %}
{% endmacro %}

{#- The part of `begin_run` that is of one domain. `selected`: the nodes that this run takes. -#}
{% macro begin_domain(name, domain, selected) %}
    {% set writes = [] %}
    {% for node in selected if node.resource_type in ['model', 'snapshot', 'seed'] and domain_of(node) == name %}
        {% do writes.append(node) %}
    {% endfor %}
    {% set missed = tables_of(name) | reject('in', writes) | list %}
    {% set basis = basis_of(name) %}
    {% set is_anew = flags.FULL_REFRESH and not missed and not nodes_of(name, ['seed']) | reject('in', writes) | list %}
    {% if writes and domain['basis'] and basis != domain['basis'] and not is_anew %}
        {% set changed = [] %}
        {% for key in (basis.keys() | list + domain['basis'].keys() | list) | unique if basis.get(key) != domain['basis'].get(key) %}
            {% do changed.append(key) %}
        {% endfor %}
        {% do exceptions.raise_compiler_error(
            'The domain ' ~ name ~ ' was built with other values of ' ~ changed | join(', ')
            ~ '. Take the change back, or build all of it anew: dbt build --full-refresh --select config.meta.domain:' ~ name
        ) %}
    {% endif %}
    {% set tables = writes | rejectattr('config.materialized', 'equalto', 'view') | list %}
    {% set anew = [] %}
    {% for node in writes if flags.FULL_REFRESH or (
        node in tables and (
            (domain['built'] is none and node.resource_type != 'seed')
            or not adapter.get_relation(node.database, node.schema, node.alias)
        )
    ) %}
        {% do anew.append(node.unique_id) %}
    {% endfor %}
    {% set below = with_all_below(anew) if anew else [] %}
    {% set pending = domain['pending'] | list %}
    {% for node in tables_of(name) + nodes_of(name, ['seed']) if node.unique_id in below and node.name not in pending %}
        {% do pending.append(node.name) %}
    {% endfor %}
    {% set has_news = namespace(is_so=pending != []) %}
    {% for node in tables if last_load_of(node) > (domain['built'] or 0) %}
        {% set has_news.is_so = true %}
    {% endfor %}
    {% set is_live_anew = tables_under_live(name) | selectattr('name', 'in', pending) | first is defined %}
    {% set live = live_from_the_beginning() if is_live_anew else domain['live'] %}
    {% set is_news = (
        pending != domain['pending'] or basis != domain['basis'] or live != domain['live'] or not domain['is_being_written']
    ) %}
    {% if is_news and (anew or (tables and has_news.is_so)) %}
        {% do domain.update({'basis': basis, 'is_being_written': true, 'pending': pending, 'live': live}) %}
        {% do record(name) %}
    {% endif %}
    {% do show_live(name, is_begin=true) if writes %}
    {% do domain.update({'is_whole': not missed}) %}
{% endmacro %}
