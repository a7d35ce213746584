{#- The load up to which this model has worked; none where it has to be built from all loads. -#}
{% macro watermark() %}
    {% if not execute %}
        {{ return(none) }}
    {% endif %}
    {% if cannot_ask() %}
        {{ return(1) }}
    {% endif %}
    {% set load_id = run_state()['watermarks'].get(model.name) %}
    {{ return(load_id if load_id is not none and load_id >= 0 else none) }}
{% endmacro %}
