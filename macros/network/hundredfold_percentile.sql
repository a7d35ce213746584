{#-
  The exact percentile of whole numbers, between two neighbours by linear interpolation, times 100, so
  that it stays whole. The array is sorted; `size` counts zeros in front of it too that it leaves out.
-#}
{% macro hundredfold_percentile(sorted, size, percent) -%}
    {%- set position = percent ~ ' * (' ~ size ~ ' - 1)' -%}
    (
        {{ padded_element(sorted, size, position ~ ' div 100') }} * (100 - {{ position }} % 100)
        + if(
            {{ position }} % 100 = 0,
            0,
            {{ padded_element(sorted, size, position ~ ' div 100 + 1') }} * ({{ position }} % 100)
        )
    )
{%- endmacro %}

{#- The element at a position, from 0, of an array that stands after as many zeros as make up `size`. -#}
{% macro padded_element(sorted, size, position) -%}
    if(
        {{ position }} < {{ size }} - size({{ sorted }}),
        0,
        try_element_at({{ sorted }}, cast({{ position }} - {{ size }} + size({{ sorted }}) + 1 as int))
    )
{%- endmacro %}
