{#- The exact percentile of whole numbers in a sorted array, between two neighbours by linear interpolation,
    times 100, so that it stays whole; null without any. As decimals: a hundred times what a server carries need not
    fit into a bigint. -#}
{% macro hundredfold_percentile(sorted, percent) -%}
    {%- set position = percent ~ ' * (size(' ~ sorted ~ ') - 1)' -%}
    (
        cast(get({{ sorted }}, cast({{ position }} div 100 as int)) as decimal(20, 0))
        * (100 - {{ position }} % 100)
        + cast(
            coalesce(get({{ sorted }}, cast({{ position }} div 100 + 1 as int)), 0) as decimal(20, 0)
        )
        * ({{ position }} % 100)
    )
{%- endmacro %}
