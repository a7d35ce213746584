{#- Minutes with two decimals from microseconds, rounded once. -#}
{% macro minutes_of(micros) -%}
    cast(round(cast({{ micros }} as decimal(38, 0)) / 60000000, 2) as decimal(18, 2))
{%- endmacro %}
