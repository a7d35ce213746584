{#-
  Works out the keys that the arrivals touch, once: up to 1,000 of them become literals, which prune
  files and cost nothing to read again; more stay a query. `only_touched()` reads them, and so does the
  merge, which removes what a touched key no longer yields. Where the model's layout columns are keys,
  the ranges of the keys by layout are known too, [layout, first, last], and prune however many the keys are.
-#}
{% macro touch(keys, query) %}
    {% if execute and is_load_by_load() %}
        {# Delta does not find the columns of a change feed where its table is read beside it. #}
        {% set most = 1000000 if 'table_changes(' in query else 1000 %}
        {% set touched = {
            'keys': keys,
            'rows': 'select distinct ' ~ keys | join(', ') ~ ' from (' ~ query ~ ')',
            'literals': none,
            'ranges': none,
        } %}
        {% if cannot_ask() %}
            {# the query is all there is #}
        {% elif last_load_of(model) <= built() %}
            {% do touched.update({'literals': []}) %}
        {% else %}
            {% set asked %}
                select {% for key in keys %}{{ literal_of(key) }} as {{ key }}{{ ', ' if not loop.last }}{% endfor %}
                from ({{ touched['rows'] }})
                limit {{ most + 1 }}
            {% endset %}
            {% set rows = run_query(asked).rows %}
            {% if rows | length <= most %}
                {% set literals = [] %}
                {% for row in rows %}
                    {% do literals.append(row.values() | list) %}
                {% endfor %}
                {% do touched.update({'literals': literals}) %}
            {% endif %}
            {% set layout = config.get('meta', {}).get('layout') %}
            {% set range = config.get('meta', {}).get('range', layout) %}
            {% set is_laid_out = range in keys and (not layout or layout in keys) %}
            {% if is_laid_out and touched['literals'] is none %}
                {% do touched.update({'ranges': ranges_of('(' ~ touched['rows'] ~ ')')}) %}
            {% elif is_laid_out and layout %}
                {% set bounds = {} %}
                {% for row in touched['literals'] %}
                    {% do bounds.setdefault(row[keys.index(layout)], []).append(row[keys.index(range)]) %}
                {% endfor %}
                {% do touched.update({'ranges': []}) %}
                {% for value, found in bounds.items() %}
                    {# Literals of days and moments sort as these do. #}
                    {% do touched['ranges'].append([value, found | min, found | max]) %}
                {% endfor %}
            {% endif %}
        {% endif %}
        {% do run_state()['touched'].update({model.unique_id: touched}) %}
    {% endif %}
{% endmacro %}

{#- The bounds of a relation by the model's layout column, or of all of it, as literals: [layout, first, last].
    None where the model has no range, or there are too many. -#}
{% macro ranges_of(relation) %}
    {% set layout = config.get('meta', {}).get('layout') %}
    {% set range = config.get('meta', {}).get('range', layout) %}
    {% if not range %}
        {{ return(none) }}
    {% endif %}
    {% set asked %}
        select
            {{ literal_of(layout) if layout else 'null' }},
            {{ literal_of('min(' ~ range ~ ')') }},
            {{ literal_of('max(' ~ range ~ ')') }}
        from {{ relation }}
        {% if layout %}group by {{ layout }}{% endif %}
        limit 1001
    {% endset %}
    {% set rows = run_query(asked).rows %}
    {{ return(rows if rows | length <= 1000 else none) }}
{% endmacro %}

{#- A predicate that prunes files: a moment lies at most so many seconds before or after the touched keys
    of its layout. Nothing where that is not known. -#}
{% macro within_touched_ranges(moment, before, after) %}
    {%- set ranges = run_state()['touched'][model.unique_id]['ranges'] if execute and is_load_by_load() -%}
    {%- if ranges %}
    and (
        {% for value, first, last in ranges -%}
        {{ moment }} >= {{ first }} - interval {{ before }} second
        and {{ moment }} < {{ last }} + interval {{ after }} second
        {{- ' or ' if not loop.last }}
        {% endfor %}
    )
    {%- endif -%}
{% endmacro %}
