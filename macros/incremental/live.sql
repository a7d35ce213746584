{#-
  Live answers are views. A live part is a view below them: the rows of one relation that meet the condition in
  its `meta.live`, with the literals of its domain: `{load}`, up to which all tables that the live views stand on
  have come together, and `{since}`, the moment before which nothing matters to them, as the `meta.since` of a
  live view tells. Literals that are too old are right, only slower; so they move last, and go back to the
  beginning before a table under them is built anew.
-#}
{% macro live_rows(relation, node=none) %}
    {% if not execute %}
        {{ return('') }}
    {% endif %}
    {% set node = node or model %}
    {% set live = live_from_the_beginning() if cannot_ask() else run_state()['domains'][domain_of(node)]['live'] %}
    {{ return(
        'select ' ~ node.columns | join(', ') ~ '\nfrom ' ~ relation ~ '\nwhere '
        ~ node.config.meta.live | replace('{load}', live['load']) | replace('{since}', live['since'])
    ) }}
{% endmacro %}

{#- The literals with which a live part leaves nothing out. -#}
{% macro live_from_the_beginning() %}
    {{ return({'load': 0, 'since': beginning_of_time()}) }}
{% endmacro %}

{#- The load up to which the live views read, as long as this run lasts. -#}
{% macro live_load() %}
    {{ return(built() if cannot_ask() else run_state()['domains'][domain_of(model)]['live']['load']) }}
{% endmacro %}

{#- The tables on which the live views of a domain stand, at whatever distance. -#}
{% macro tables_under_live(name) %}
    {% set above = with_all_above(nodes_of(name, ['model']) | selectattr('config.meta.since') | map(attribute='unique_id') | list) %}
    {{ return(tables_of(name) | selectattr('unique_id', 'in', above) | list) }}
{% endmacro %}

{#- The ids of nodes and of all that they stand on, at whatever distance. -#}
{% macro with_all_above(unique_ids) %}
    {% set found = unique_ids | list %}
    {% for unique_id in unique_ids if unique_id in graph.nodes %}
        {% do found.extend(graph.nodes[unique_id].depends_on.nodes | reject('in', found)) %}
    {% endfor %}
    {{ return(found if found | length == unique_ids | length else with_all_above(found)) }}
{% endmacro %}

{#- Whether the literals of a domain move: all tables under its live views have come to the cut in this run. -#}
{% macro note_live(name, domain, done) %}
    {% set loads = [] %}
    {% for node in tables_under_live(name) %}
        {% do loads.append(last_load_of(node) if node.unique_id in done else -1) %}
    {% endfor %}
    {% if not loads or -1 in loads or loads | max <= domain['live']['load'] %}
        {{ return(false) }}
    {% endif %}
    {% set moments = [] %}
    {% for node in nodes_of(name, ['model']) | selectattr('config.meta.since') if adapter.get_relation(node.database, node.schema, node.alias) %}
        {% set asked = literal_of('min(' ~ node.config.meta.since ~ ')') %}
        {% do moments.append(run_query('select ' ~ asked ~ ' from ' ~ relation_of(node.schema, node.alias)).columns[0].values()[0]) %}
    {% endfor %}
    {% set known = moments | reject('equalto', 'cast(null as timestamp)') | list %}
    {% do domain.update({'live': {'load': run_state()['cut'], 'since': known | min if known else domain['live']['since']}}) %}
    {{ return(true) }}
{% endmacro %}

{#- Alters the live parts of a domain to its literals; at the begin of a run those that are there, have others,
    and read what is there. -#}
{% macro show_live(name, is_begin=false) %}
    {% for node in nodes_of(name, ['model']) | selectattr('config.meta.live') %}
        {% set view = adapter.get_relation(node.database, node.schema, node.alias) %}
        {% set read = [audit_table('loads')] %}
        {% for parent_id in node.depends_on.nodes %}
            {% set parent = graph.nodes[parent_id] %}
            {% do read.append(adapter.get_relation(parent.database, parent.schema, parent.alias)) %}
        {% endfor %}
        {% set query = live_rows(read | last, node) %}
        {% if view and read | last and not (is_begin and is_view_of(view, query)) %}
            {% set there = adapter.get_columns_in_relation(read | last) | map(attribute='name') | list if is_begin else [] %}
            {% do run_query('alter view ' ~ view ~ ' as ' ~ query) if not is_begin or not node.columns | reject('in', there) | list %}
        {% endif %}
    {% endfor %}
{% endmacro %}
