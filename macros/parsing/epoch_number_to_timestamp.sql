{#-
  A moment from a number: epoch seconds or milliseconds, told apart by their size (seconds below 1e11 reach
  the year 5138). A double holds microseconds of either exactly; what is not whole is taken as the decimal
  that it is written as. Null where it is neither.
-#}
{% macro epoch_number_to_timestamp(column) -%}
    case
        when {{ column }} >= 0 and {{ column }} < 1e11 and {{ column }} = floor({{ column }})
            then timestamp_seconds(cast({{ column }} as bigint))
        when {{ column }} >= 0 and {{ column }} < 1e14
            then timestamp_micros(
                cast(
                    round(cast({{ column }} as decimal(38, 9)) * if({{ column }} < 1e11, 1000000, 1000)) as bigint
                )
            )
    end
{%- endmacro %}
