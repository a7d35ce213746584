{#-
  The report time of this run's cut, as a literal: the var `as_of`, or else the latest accepted event.
  Never the clock, so that two builds agree. `events` is the domain's table of accepted events.
-#}
{% macro as_of(events) %}
    {% if var('as_of') %}
        {{ return("timestamp '" ~ var('as_of') ~ "'") }}
    {% elif not execute %}
        {{ return(beginning_of_time()) }}
    {% elif cannot_ask() %}
        {{ return('(select max(event_at) from ' ~ events ~ ' where _load_id <= ' ~ cut() ~ ')') }}
    {% endif %}
    {% set domain = run_state()['domains'][domain_of(model)] %}
    {% if 'as_of_reached' not in domain %}
        {% set latest = 'max(event_at)' if domain['as_of'] is none else 'greatest(' ~ domain['as_of'] ~ ', max(event_at))' %}
        {% set since = ' and _load_id > ' ~ domain['built'] if domain['as_of'] is not none else '' %}
        {% set asked = 'select ' ~ literal_of(latest) ~ ' from ' ~ events ~ ' where _load_id <= ' ~ cut() ~ since %}
        {% do domain.update({'as_of_reached': run_query(asked).columns[0].values()[0]}) %}
    {% endif %}
    {{ return(domain['as_of_reached']) }}
{% endmacro %}

{#- The report time up to which the domain was built before, as a literal. -#}
{% macro as_of_before(events) %}
    {% if var('as_of') or not execute %}
        {{ return(as_of(events)) }}
    {% elif cannot_ask() %}
        {{ return('(select max(event_at) from ' ~ events ~ ' where _load_id <= ' ~ built() ~ ')') }}
    {% endif %}
    {{ return(run_state()['domains'][domain_of(model)]['as_of'] or 'cast(null as timestamp)') }}
{% endmacro %}
