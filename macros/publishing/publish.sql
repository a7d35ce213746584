{#-
  Shows readers what this build has made: `gold.<mart>` becomes a view of the mart's present version.
  The marts of a domain move together: those that a build leaves out must be published already, with
  nothing new for them since. A build publishes only
  where nothing failed and every data test of what it built was run, so nobody reads half a build, and a
  build whose tests fail leaves what readers see as it was. The live loop publishes its own marts each
  round: their tables refuse rows that break their constraints. A build with --defer publishes nothing: it
  may have read another state's tables.
-#}
{% macro publish(results) %}
    {% if execute and flags.WHICH == 'build' and not invocation_args_dict.get('defer') %}
        {% set marts = graph.nodes.values()
            | selectattr('resource_type', 'equalto', 'model')
            | selectattr('config.schema', 'equalto', 'gold_build') | list %}
        {% set ran = results | map(attribute='node.unique_id') | list %}
        {% set built = marts | selectattr('unique_id', 'in', ran) | list %}
        {% set failed = results | map(attribute='status') | map('string')
            | select('in', ['error', 'fail', 'skipped', 'runtime error', 'partial success']) | list %}
        {% if failed %}
            {% do log('Not published: ' ~ failed | length ~ ' nodes failed or were skipped; readers see what they saw before.', info=true) %}
        {% elif is_live() %}
            {% do publish_marts(built) %}
        {% elif not is_tested(ran) %}
            {% do log('Not published: a build publishes when it runs all data tests of what it builds.', info=true) %}
        {% else %}
            {% set published = published_loads() %}
            {% set whole = [] %}
            {% for domain, of_domain in marts | groupby('fqn.2') %}
                {% set present = of_domain | select('in', built) | list %}
                {% set cuts = [] %}
                {% for mart in present %}
                    {% do cuts.append(cut_of(mart)) %}
                {% endfor %}
                {% set behind = [] %}
                {% for mart in of_domain if present and mart not in built %}
                    {% if published.get(mart.name, -1) < [cuts | min, last_news(mart)] | min %}
                        {% do behind.append(mart.name) %}
                    {% endif %}
                {% endfor %}
                {% if present and cuts | unique | list | length == 1 and not behind %}
                    {% do whole.extend(present) %}
                {% elif present %}
                    {% do log('Not published: ' ~ domain ~ '; a domain is published when all its marts are built up to one load.', info=true) %}
                {% endif %}
            {% endfor %}
            {% do publish_marts(whole) %}
        {% endif %}
    {% endif %}
{% endmacro %}

{#- Whether this is a round of the live loop, which builds the models tagged live and nothing else. -#}
{% macro is_live() %}
    {{ return(env_var('LAKEHOUSE_PACE', '') == 'live') }}
{% endmacro %}

{#- Whether this run has all data tests of which it ran every node that they read. -#}
{% macro is_tested(ran) %}
    {% for node in graph.nodes.values() if node.resource_type == 'test' and node.unique_id not in selected_resources %}
        {% set read = node.depends_on.nodes | select('in', graph.nodes) | list %}
        {% if read and read | reject('in', ran) | list | length == 0 %}
            {{ return(false) }}
        {% endif %}
    {% endfor %}
    {{ return(true) }}
{% endmacro %}

{#- The load up to which readers see each mart. -#}
{% macro published_loads() %}
    {% set published = {} %}
    {% for mart, load_id in run_query(
        'select mart, max_by(load_id, published_at) from '
        ~ generate_schema_name('audit', none) | trim ~ '.publications group by mart'
    ).rows %}
        {% do published.update({mart: load_id | int}) %}
    {% endfor %}
    {{ return(published) }}
{% endmacro %}

{#- Pins the view of each of these marts to its present version, and writes it down. -#}
{% macro publish_marts(marts) %}
    {% if marts %}
        {% set gold = generate_schema_name('gold', none) | trim %}
        {% do run_query('create schema if not exists ' ~ gold) %}
        {% set published = [] %}
        {% for mart in marts %}
            {% set table = mart.schema ~ '.' ~ mart.alias %}
            {% set version = run_query('describe history ' ~ table ~ ' limit 1').columns['version'].values()[0] | int %}
            {% do publish_version(gold ~ '.' ~ mart.alias, table, version, mart) %}
            {% do published.append(
                "('" ~ mart.name ~ "', " ~ version ~ ", " ~ cut_of(mart) ~ ", '" ~ invocation_id ~ "', current_timestamp())"
            ) %}
        {% endfor %}
        {% do run_query(
            'insert into ' ~ generate_schema_name('audit', none) | trim ~ '.publications values '
            ~ published | join(', ')
        ) %}
    {% endif %}
{% endmacro %}

{#-
  Shows one version of a mart to its readers. Replacing a view drops it for a moment, in which a reader
  would find none, so a view that is there is altered.
-#}
{% macro publish_version(view, table, version, mart) %}
    {% set query = 'select ' ~ mart.columns.keys() | join(', ') ~ ' from ' ~ table ~ ' version as of ' ~ version %}
    {% do run_query(
        'create view if not exists ' ~ view ~ " comment '" ~ quoted(mart.description) ~ "' as " ~ query
    ) %}
    {% do run_query('alter view ' ~ view ~ ' as ' ~ query) %}
{% endmacro %}

{#- Writes the columns' descriptions to a table that has just been built anew; its view shows them too. -#}
{% macro comment_columns() %}
    {% if execute and not is_load_by_load() %}
        {% set comments = [] %}
        {% for column in model.columns.values() %}
            {% do comments.append(column.name ~ " comment '" ~ quoted(column.description) ~ "'") %}
        {% endfor %}
        {% do run_query('alter table ' ~ this ~ ' alter column ' ~ comments | join(', ')) %}
    {% endif %}
{% endmacro %}

{#- Text as the inside of a SQL literal. -#}
{% macro quoted(text) -%}
    {{ return(text | replace("\\", "\\\\") | replace("'", "\\'")) }}
{%- endmacro %}
