{#-
  After all nodes: of each domain of which all tables have come to the cut, `built` moves; where all its data
  tests are green too, in this run or after it, with nothing written in between, `published` moves, and
  readers see what was built; where all tables under its live views have come to the cut, these read from
  there on. Last, how the nodes did is kept. A run in schemas of its own moves
  nothing.
-#}
{% macro end_run(results) %}
    {% if execute and not var('slim', '') %}
        {% set state = run_state() %}
        {% set done = [] %}
        {% for result in results if result.status in ['success', 'pass', 'warn'] %}
            {% do done.append(result.node.unique_id) %}
        {% endfor %}
        {% set moved = [] %}
        {% for name, domain in state['domains'].items() %}
            {% set is_built = note_built(name, domain, done) %}
            {% set is_published = note_published(name, domain, done) %}
            {% do record(name) if is_built or is_published %}
            {% do moved.append(name) if is_published %}
        {% endfor %}
        {% do show_published(moved=moved) if moved %}
        {% do bring_domains_together() %}
        {% for name, domain in state['domains'].items() if note_live(name, domain, done) %}
            {% do record(name) %}
            {% do show_live(name) %}
        {% endfor %}
        {% do note_results(results) %}
    {% endif %}
{% endmacro %}

{#- Whether `built` moves: all tables of the domain, and all that was pending, were built in this run. -#}
{% macro note_built(name, domain, done) %}
    {% if flags.WHICH == 'test' or not (domain['is_whole'] and domain['is_being_written']) %}
        {{ return(false) }}
    {% endif %}
    {% for node in tables_of(name) + nodes_of(name, ['seed']) if node.unique_id not in done %}
        {% if node.name in domain['pending'] or node.resource_type != 'seed' %}
            {{ return(false) }}
        {% endif %}
    {% endfor %}
    {% set versions = {} %}
    {% for mart in marts_of(name) %}
        {% if mart.name in run_state()['idle'] and mart.name in domain['marts'] %}
            {% do versions.update({mart.name: domain['marts'][mart.name]}) %}
        {% else %}
            {% do versions.update({mart.name: current_version(relation_of(mart.schema, mart.alias))}) %}
        {% endif %}
    {% endfor %}
    {% do domain.update({
        'built': run_state()['cut'], 'is_being_written': false, 'pending': [], 'marts': versions,
        'as_of': domain.get('as_of_reached') or domain['as_of'],
        'feeds': dict(domain['feeds'], **domain.get('feeds_reached', {}))
    }) %}
    {{ return(true) }}
{% endmacro %}

{#-
  Whether `published` moves: all data tests of the domain are green, and judged what was built, and nobody holds
  publishing (see lakehouse/restore.py).
-#}
{% macro note_published(name, domain, done) %}
    {% set tests = nodes_of(name, ['test']) | map(attribute='unique_id') | list %}
    {% if (
        domain['built'] is none or domain['is_being_written']
        or (domain['published'] == domain['built'] and domain['gold'] == domain['marts'])
        or tests | reject('in', done) | first is defined or basis_of(name) != domain['basis']
    ) %}
        {{ return(false) }}
    {% endif %}
    {% if flags.WHICH == 'test' and newest_number(name) != domain['number'] %}
        {{ return(false) }}
    {% endif %}
    {% if domain['held'] is not none %}
        {% do log(
            'The domain ' ~ name ~ ' is green up to load ' ~ domain['built'] ~ ', and its publishing is held: readers see '
            ~ 'load ' ~ domain['published'] ~ '. Go on with: lakehouse restore ' ~ name ~ ' --release', info=true
        ) %}
        {{ return(false) }}
    {% endif %}
    {% do domain.update({'published': domain['built'], 'gold': domain['marts']}) %}
    {{ return(true) }}
{% endmacro %}

{#- The number of a domain's newest row, asked anew. -#}
{% macro newest_number(name) %}
    {{ return(run_query(
        'select max(number) from ' ~ audit_table('domains') ~ " where domain = '" ~ name ~ "'"
    ).columns[0].values()[0] | int) }}
{% endmacro %}
