{#- A speed in Mbit/s, as people read it, from bits per second. -#}
{% macro mbps_of(bits_per_second) -%}
    cast({{ bits_per_second }} as double) / 1000000
{%- endmacro %}
