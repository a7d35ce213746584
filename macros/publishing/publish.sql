{#-
  Shows readers what this build has made: `gold.<mart>` becomes a view of the mart's present version.
  Only a build publishes that ran every mart up to one cut and in which nothing failed, so nobody reads
  half a build, and a build whose tests fail leaves what readers see as it was.
-#}
{% macro publish(results) %}
    {% if execute and flags.WHICH == 'build' %}
        {% set marts = graph.nodes.values()
            | selectattr('resource_type', 'equalto', 'model')
            | selectattr('config.schema', 'equalto', 'gold_build') | list %}
        {% set failed = results | map(attribute='status') | map('string')
            | select('in', ['error', 'fail', 'skipped', 'runtime error', 'partial success']) | list %}
        {% set built = results | map(attribute='node.unique_id') | list %}
        {% set cuts = [] %}
        {% for mart in marts %}
            {% do cuts.append(cut_of(mart) if mart.unique_id in built else -1) %}
        {% endfor %}
        {% if failed %}
            {% do log('Not published: ' ~ failed | length ~ ' nodes failed or were skipped; readers see what they saw before.', info=true) %}
        {% elif cuts | unique | list | length != 1 or -1 in cuts or not is_tested() %}
            {% do log('Not published: a build publishes when it runs every mart up to one load, with all tests.', info=true) %}
        {% else %}
            {% do publish_marts(marts, cuts[0]) %}
        {% endif %}
    {% endif %}
{% endmacro %}

{#- Whether this run has all data tests of the project. -#}
{% macro is_tested() %}
    {% for node in graph.nodes.values() if node.resource_type == 'test' %}
        {% if node.unique_id not in selected_resources %}
            {{ return(false) }}
        {% endif %}
    {% endfor %}
    {{ return(true) }}
{% endmacro %}

{#- Pins every mart's view to its present version, and writes it down. -#}
{% macro publish_marts(marts, load_id) %}
    {% set gold = generate_schema_name('gold', none) | trim %}
    {% do run_query('create schema if not exists ' ~ gold) %}
    {% set published = [] %}
    {% for mart in marts %}
        {% set table = mart.schema ~ '.' ~ mart.alias %}
        {% set version = run_query('describe history ' ~ table ~ ' limit 1').columns['version'].values()[0] | int %}
        {% do run_query(published_view(gold ~ '.' ~ mart.alias, table, version, mart)) %}
        {% do published.append(
            "('" ~ mart.name ~ "', " ~ version ~ ", " ~ load_id ~ ", '" ~ invocation_id ~ "', current_timestamp())"
        ) %}
    {% endfor %}
    {% do run_query(
        'insert into ' ~ generate_schema_name('audit', none) | trim ~ '.publications values '
        ~ published | join(', ')
    ) %}
{% endmacro %}

{#- The statement that shows one version of a mart to its readers, with the columns' descriptions. -#}
{% macro published_view(view, table, version, mart) %}
    create or replace view {{ view }} (
        {% for column in mart.columns.values() -%}
        {{ column.name }} comment '{{ column.description | replace("\\", "\\\\") | replace("'", "\\'") }}'
        {{- ', ' if not loop.last }}
        {%- endfor %}
    )
    comment '{{ mart.description | replace("\\", "\\\\") | replace("'", "\\'") }}'
    as select {{ mart.columns.keys() | join(', ') }} from {{ table }} version as of {{ version }}
{% endmacro %}
