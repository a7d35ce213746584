{#- The exact percentile of whole numbers in a sorted array, between two neighbours by linear interpolation,
    times 100, so that it stays whole; null without any. -#}
{% macro hundredfold_percentile(sorted, percent) -%}
    {%- set position = percent ~ ' * (size(' ~ sorted ~ ') - 1)' -%}
    (
        get({{ sorted }}, cast({{ position }} div 100 as int)) * (100 - {{ position }} % 100)
        + coalesce(get({{ sorted }}, cast({{ position }} div 100 + 1 as int)), 0)
        * ({{ position }} % 100)
    )
{%- endmacro %}
