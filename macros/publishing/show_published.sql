{#-
  Lets readers see what is remembered as published: `gold.<mart>` is a view of the mart's version then. At the
  begin of a run this puts right what one that was killed left behind, and nothing else: a mart may have got other
  columns, which the version then has not. Later it shows the domains that have `moved`: another run may have
  published another one meanwhile. A view that no mart stands behind any more goes.
-#}
{% macro show_published(is_begin=false, moved=[]) %}
    {% set wanted = {} %}
    {% set named = graph.nodes.values() | selectattr('schema', 'equalto', 'gold') | map(attribute='alias') | list %}
    {% for name, domain in run_state()['domains'].items() %}
        {% for mart in marts_of(name) %}
            {% do named.append(mart.alias) %}
            {% if mart.name in domain['gold'] and (is_begin or name in moved) %}
                {% do wanted.update({mart.alias: [mart, domain['gold'][mart.name]]}) %}
            {% endif %}
        {% endfor %}
    {% endfor %}
    {% if wanted %}
        {% do run_query('create schema if not exists ' ~ relation_of('gold', none).without_identifier()) %}
        {% set shown = texts_of_views('gold') %}
        {% for name in shown if name not in named %}
            {% do run_query('drop view ' ~ relation_of('gold', name)) %}
        {% endfor %}
        {% for alias, (mart, version) in wanted.items() %}
            {% set view = relation_of('gold', alias) %}
            {% set query = query_of_version(mart, version, shown.get(alias, '')) if is_begin
                else 'select ' ~ mart.columns.keys() | join(', ') ~ ' from '
                ~ relation_of(mart.schema, mart.alias) ~ ' version as of ' ~ version %}
            {% if alias not in shown %}
                {% do run_query(
                    'create view ' ~ view ~ " comment '" ~ quoted(mart.description) ~ "' as " ~ query
                ) %}
            {% elif query != shown[alias] %}
                {# Altered, since to replace a view Spark drops it for a moment. #}
                {% do run_query('alter view ' ~ view ~ ' as ' ~ query) %}
            {% endif %}
        {% endfor %}
    {% endif %}
{% endmacro %}

{#-
  The query of a view that shows another version of a mart than `shown` does; that version may have other columns,
  as older answers have.
-#}
{% macro query_of_version(mart, version, shown) %}
    {% set as_of = ' version as of ' ~ version %}
    {% if shown.endswith(as_of) %}
        {{ return(shown) }}
    {% endif %}
    {% set there = run_query('select * from ' ~ relation_of(mart.schema, mart.alias) ~ as_of ~ ' limit 0').column_names %}
    {{ return(
        'select ' ~ there | reject('equalto', '_load_id') | join(', ') ~ ' from '
        ~ relation_of(mart.schema, mart.alias) ~ as_of
    ) }}
{% endmacro %}

{#- The marts of a domain. -#}
{% macro marts_of(name) %}
    {{ return(nodes_of(name, ['model']) | selectattr('config.schema', 'equalto', 'gold_build') | list) }}
{% endmacro %}

{#- Writes the columns' descriptions to a table that has just been built anew; its view shows them too. -#}
{% macro comment_columns() %}
    {% if execute and not is_load_by_load() and config.get('materialized') != 'view' %}
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
