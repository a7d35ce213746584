{#-
  A moment from text: epoch seconds or milliseconds, whole or with a fraction, or ISO 8601. Decimals, not
  floats: a 32-bit float of today's seconds is a multiple of 128. Null where it cannot be read or is
  before 1970.
-#}
{% macro epoch_to_timestamp(column) -%}
    coalesce(
        {{ epoch_number_to_timestamp('try_cast(' ~ column ~ ' as decimal(38, 9))') }},
        case
            when
                {{ trimmed(column) }} rlike '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}'
                and try_cast({{ trimmed(column) }} as timestamp) >= timestamp_seconds(0)
                then try_cast({{ trimmed(column) }} as timestamp)
        end
    )
{%- endmacro %}
