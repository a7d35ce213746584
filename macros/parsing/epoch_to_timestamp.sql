{#-
  A moment from text: epoch seconds or milliseconds (told apart by their size: seconds below 1e11 reach
  the year 5138), whole or with a fraction, or ISO 8601. Decimals, not floats: a 32-bit float of today's
  seconds is a multiple of 128. Null where it cannot be read.
-#}
{% macro epoch_to_timestamp(column) -%}
    case
        when try_cast({{ column }} as decimal(38, 9)) >= 0 and try_cast({{ column }} as decimal(38, 9)) < 1e11
            then timestamp_micros(cast(round(try_cast({{ column }} as decimal(38, 9)) * 1000000) as bigint))
        when try_cast({{ column }} as decimal(38, 9)) >= 1e11 and try_cast({{ column }} as decimal(38, 9)) < 1e14
            then timestamp_micros(cast(round(try_cast({{ column }} as decimal(38, 9)) * 1000) as bigint))
        when {{ trimmed(column) }} rlike '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}'
            then try_cast({{ trimmed(column) }} as timestamp)
    end
{%- endmacro %}
