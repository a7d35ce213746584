{#- Whether a node of the graph is a table that is worked on load by load. -#}
{% macro has_watermark(node) %}
    {{ return(
        node.resource_type == 'snapshot'
        or (node.resource_type == 'model' and node.config.materialized == 'incremental')
    ) }}
{% endmacro %}
