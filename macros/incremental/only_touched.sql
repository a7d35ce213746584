{#- A relation, cut down to the keys that `touch()` found; the whole of it in a full build. -#}
{% macro only_touched(relation) -%}
    {%- if is_load_by_load() and execute and run_state()['touched'][model.unique_id]['literals'] == [] -%}
        (select * from {{ relation }} where false)
    {%- elif is_load_by_load() and execute -%}
        (
            select relation_touched.*
            from {{ relation }} as relation_touched
            left semi join {{ touched_keys() }} as touched
                on {% for key in run_state()['touched'][model.unique_id]['keys'] -%}
                    relation_touched.{{ key }} <=> touched.{{ key }}{{ ' and ' if not loop.last }}
                {%- endfor %}
            {{ touched_predicate('relation_touched', 'where') }}
        )
    {%- else -%}
        {{ relation }}
    {%- endif -%}
{%- endmacro %}

{#- The touched keys of this model as a derived table. -#}
{% macro touched_keys() -%}
    {%- set touched = run_state()['touched'][model.unique_id] -%}
    {%- if touched['literals'] is none -%}
        ({{ touched['rows'] }})
    {%- elif touched['literals'] | length == 0 -%}
        (select * from ({{ touched['rows'] }}) where false)
    {%- else -%}
        (
            select {% for key in touched['keys'] %}col{{ loop.index }} as {{ key }}{{ ', ' if not loop.last }}{% endfor %}
            from values
                {% for row in touched['literals'] -%}
                    ({{ row | join(', ') }}){{ ', ' if not loop.last }}
                {%- endfor %}
        )
    {%- endif -%}
{%- endmacro %}

{#- What prunes files: the literals of each touched column, where there are any. -#}
{% macro touched_predicate(alias, prefix) -%}
    {%- set touched = run_state()['touched'][model.unique_id] -%}
    {%- if touched['literals'] -%}
        {{ prefix }}
        {%- for key in touched['keys'] -%}
            {%- set values = touched['literals'] | map(attribute=loop.index0) | unique | list -%}
            {%- if 'cast(null as' not in (values | join) %}
            {{ ' and ' if not loop.first }}{{ alias }}.{{ key }} in ({{ values | join(', ') }})
            {%- else %}
            {{ ' and ' if not loop.first }}true
            {%- endif -%}
        {%- endfor -%}
    {%- elif touched['ranges'] -%}
        {{ prefix }} {{ in_ranges(alias ~ '.', touched['ranges']) }}
    {%- endif -%}
{%- endmacro %}

{#- Whether a row's layout columns lie in these ranges, [layout, first, last]; without a layout, the range column
    in the one. -#}
{% macro in_ranges(prefix, ranges) -%}
    {%- set layout = config.get('meta').get('layout') -%}
    {%- set range = config.get('meta').get('range', layout) -%}
    (
        {% for value, first, last in ranges -%}
        (
            {% if layout -%}
            {{ prefix }}{{ layout }} = {{ value }} and
            {%- endif %}
            {{ prefix }}{{ range }} >= {{ first }} and {{ prefix }}{{ range }} <= {{ last }}
        )
        {{- ' or ' if not loop.last }}
        {%- else -%}
        false
        {%- endfor %}
    )
{%- endmacro %}
