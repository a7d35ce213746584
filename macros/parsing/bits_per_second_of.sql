{#-
  A speed in bits per second, from a double in Mbit/s; whole numbers add up to the same in every order.
  Null where it is none: missing, negative, no number, or over a Pbit/s, which no line carries.
-#}
{% macro bits_per_second_of(column) -%}
    case
        when {{ column }} >= 0 and {{ column }} <= 1e9
            then cast(cast({{ column }} as decimal(18, 6)) * 1000000 as bigint)
    end
{%- endmacro %}
