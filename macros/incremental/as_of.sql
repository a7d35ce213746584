{#-
  The report time of this run's cut, as a literal: the var `as_of`, or else the latest accepted event; with
  `is_before` the one up to which the domain was built before. Never the clock, so that two builds agree.
  `events` is the domain's table of accepted events; where it is built anew, nothing of before counts.
-#}
{% macro as_of(events, is_before=false) %}
    {% if var('as_of') %}
        {{ return("timestamp '" ~ var('as_of') ~ "'") }}
    {% elif not execute %}
        {{ return(beginning_of_time()) }}
    {% elif cannot_ask() %}
        {% set load = built() if is_before else cut() %}
        {{ return('(select max(event_at) from ' ~ events ~ ' where _load_id <= ' ~ load ~ ')') }}
    {% endif %}
    {% set domain = run_state()['domains'][domain_of(model)] %}
    {% if is_before %}
        {{ return(domain['as_of'] or 'cast(null as timestamp)') }}
    {% elif 'as_of_reached' not in domain %}
        {% set is_anew = domain['as_of'] is none or is_pending(model) %}
        {% set latest = 'max(event_at)' if is_anew else 'greatest(' ~ domain['as_of'] ~ ', max(event_at))' %}
        {% set since = '' if is_anew else ' and _load_id > ' ~ domain['built'] %}
        {% set asked = 'select ' ~ literal_of(latest) ~ ' from ' ~ events ~ ' where _load_id <= ' ~ cut() ~ since %}
        {% do domain.update({'as_of_reached': run_query(asked).columns[0].values()[0]}) %}
    {% endif %}
    {{ return(domain['as_of_reached']) }}
{% endmacro %}
