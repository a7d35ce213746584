{#- The order of all that is told of a key, the row that is present first. -#}
{% macro present_order(columns, changed_at) -%}
    _pull_id desc nulls last, {{ changed_at }} desc, _status = 'told', {{ payload_sha256(columns) }}
{%- endmacro %}
