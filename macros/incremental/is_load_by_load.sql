{#- Whether this run of the model or snapshot reads only what has arrived. -#}
{% macro is_load_by_load() %}
    {% if model.resource_type == 'snapshot' %}
        {{ return(execute and load_cached_relation(this) is not none and not is_pending(model)) }}
    {% endif %}
    {{ return(this is not none and is_incremental()) }}
{% endmacro %}

{#- Whether a node has to be built anew before its domain can be said to have come any further; with --defer all are. -#}
{% macro is_pending(node) %}
    {{ return(
        not cannot_ask() and domain_of(node) is not none
        and (var('slim', '') != '' or node.name in run_state()['domains'][domain_of(node)]['pending'])
    ) }}
{% endmacro %}
