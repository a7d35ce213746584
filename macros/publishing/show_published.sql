{#-
  Lets readers see what is remembered as published: `gold.<mart>` is a view of the mart's version then. What a
  run that was killed left behind is put right, and a view that no mart stands behind any more goes.
-#}
{% macro show_published() %}
    {% set gold = generate_schema_name('gold', none) | trim %}
    {% set wanted = {} %}
    {% set named = [] %}
    {% for name, domain in run_state()['domains'].items() %}
        {% for mart in marts_of(name) %}
            {% do named.append(mart.alias) %}
            {% if mart.name in domain['gold'] %}
                {% do wanted.update({mart.alias: [mart, 'select ' ~ mart.columns.keys() | join(', ') ~ ' from '
                    ~ mart.schema ~ '.' ~ mart.alias ~ ' version as of ' ~ domain['gold'][mart.name]]}) %}
            {% endif %}
        {% endfor %}
    {% endfor %}
    {% for node in graph.nodes.values() if node.schema == gold %}
        {% do named.append(node.alias) %}
    {% endfor %}
    {% if wanted %}
        {% do run_query('create schema if not exists ' ~ gold) %}
        {% set shown = {} %}
        {% for row in run_query('show table extended in ' ~ gold ~ " like '*'").rows %}
            {% do shown.update({row[1]: row[3]}) %}
            {% do run_query('drop view ' ~ gold ~ '.' ~ row[1]) if row[1] not in named %}
        {% endfor %}
        {% for alias, (mart, query) in wanted.items() %}
            {% if alias not in shown %}
                {% do run_query(
                    'create view ' ~ gold ~ '.' ~ alias ~ " comment '" ~ quoted(mart.description) ~ "' as " ~ query
                ) %}
            {# Altered, since to replace a view Spark drops it for a moment. #}
            {% elif query not in shown[alias] %}
                {% do run_query('alter view ' ~ gold ~ '.' ~ alias ~ ' as ' ~ query) %}
            {% endif %}
        {% endfor %}
    {% endif %}
{% endmacro %}

{#- The marts of a domain. -#}
{% macro marts_of(name) %}
    {{ return(nodes_of(name, ['model']) | selectattr('config.schema', 'equalto', 'gold_build') | list) }}
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
