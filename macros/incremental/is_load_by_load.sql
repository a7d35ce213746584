{#- Whether this run of the model or snapshot reads only what has arrived. -#}
{% macro is_load_by_load() %}
    {% if model.resource_type == 'snapshot' %}
        {{ return(execute and load_cached_relation(this) is not none and watermark() is not none) }}
    {% endif %}
    {{ return(this is not none and is_incremental()) }}
{% endmacro %}
