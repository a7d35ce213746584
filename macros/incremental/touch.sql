{#-
  Works out the keys that the arrivals touch, once: up to 1,000 of them become literals, which prune
  files and cost nothing to read again; more stay a query. `only_touched()` reads them, and so does the
  merge, which removes what a touched key no longer yields.
-#}
{% macro touch(keys, query) %}
    {% if execute and is_load_by_load() %}
        {% set most = 1000 %}
        {% set touched = {'keys': keys, 'rows': 'select distinct ' ~ keys | join(', ') ~ ' from (' ~ query ~ ')', 'literals': none} %}
        {% if cannot_ask() %}
            {# the query is all there is #}
        {% elif watermark() >= cut() %}
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
        {% endif %}
        {% do run_state()['touched'].update({model.unique_id: touched}) %}
    {% endif %}
{% endmacro %}
