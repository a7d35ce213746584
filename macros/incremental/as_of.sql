{#-
  The report time of this model's cut, as a literal: the var `as_of`, or else the latest accepted event.
  Never the clock, so that two builds agree. `events` is the table of accepted events.
-#}
{% macro as_of(events) %}
    {% if var('as_of') %}
        {{ return("timestamp '" ~ var('as_of') ~ "'") }}
    {% elif not execute %}
        {{ return(beginning_of_time()) }}
    {% elif cannot_ask() %}
        {{ return('(select max(event_at) from ' ~ events ~ ' where _load_id <= ' ~ cut() ~ ')') }}
    {% endif %}
    {% set state = run_state() %}
    {% if cut() not in state['as_of'] %}
        {% set known = state['as_ofs'].get(events.identifier) if arrived_here(events) %}
        {% if known and 'null' not in known %}
            {# Literals of moments sort as these do. #}
            {% set latest = state['ranges'][events.identifier] | map(attribute=2) | list %}
            {% do state['as_of'].update({cut(): (latest + [known]) | max}) %}
        {% else %}
            {% set asked = 'select ' ~ literal_of('max(event_at)') ~ ' from ' ~ events ~ ' where _load_id <= ' ~ cut() %}
            {% do state['as_of'].update({cut(): run_query(asked).columns[0].values()[0]}) %}
        {% endif %}
    {% endif %}
    {% do state['as_ofs_reached'].update({model.name: state['as_of'][cut()]}) %}
    {% if cut() == cut_of(node_of(events)) %}
        {% do state['as_ofs_reached'].update({events.identifier: state['as_of'][cut()]}) %}
    {% endif %}
    {{ return(state['as_of'][cut()]) }}
{% endmacro %}

{#- Whether the bounds of what has arrived for this model are known: `events` was merged in this run, and
    had come as far as this model before. -#}
{% macro arrived_here(events) %}
    {% set state = run_state() %}
    {{ return(
        is_load_by_load()
        and events.identifier in state['ranges']
        and state['watermarks_before'].get(events.identifier) == watermark()
        and cut() == cut_of(node_of(events))
    ) }}
{% endmacro %}

{#- The report time at which this model was built last, as a literal. -#}
{% macro as_of_before(events) %}
    {% if var('as_of') or not execute %}
        {{ return(as_of(events)) }}
    {% elif cannot_ask() %}
        {{ return('(select max(event_at) from ' ~ events ~ ' where _load_id <= ' ~ watermark() ~ ')') }}
    {% endif %}
    {{ return(run_state()['as_ofs'].get(model.name) or 'cast(null as timestamp)') }}
{% endmacro %}
