{#- Notes results that are told as JSON: an argument in YAML cannot hold every text. -#}
{% macro note_told(results) %}
    {% do note_results(fromjson(results)) %}
{% endmacro %}
