{#- The moment from which what has no beginning is valid. -#}
{% macro beginning_of_time() -%}
    timestamp '1900-01-01 00:00:00+00:00'
{%- endmacro %}

{#- The moment up to which what has no end is valid. -#}
{% macro end_of_time() -%}
    timestamp '9999-12-31 00:00:00+00:00'
{%- endmacro %}
