{#-
  A moment from text: epoch seconds or milliseconds, whole or with a fraction, or ISO 8601. Decimals, not
  floats: a 32-bit float of today's seconds is a multiple of 128. Null where it cannot be read, is before
  1970, or has too few digits (see there, also for `is_as_written`).
-#}
{% macro epoch_to_timestamp(column, is_as_written='true') -%}
    case
        when {{ has_too_few_digits(column, is_as_written) }} then null
        else coalesce(
            {{ epoch_number_to_timestamp('try_cast(' ~ number_text_of(column) ~ ' as decimal(38, 9))') }},
            case
                when
                    length({{ trimmed(column) }}) <= 40
                    and {{ trimmed(column) }} rlike '^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}'
                    and try_cast({{ trimmed(column) }} as timestamp) >= timestamp_seconds(0)
                    then try_cast({{ trimmed(column) }} as timestamp)
            end
        )
    end
{%- endmacro %}
