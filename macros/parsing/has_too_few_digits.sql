{#-
  Whether a time's digits do not reach the second: a spreadsheet writes 1.79349E+12 and means any of some
  thousand seconds. `is_as_written` says whether the text is the sender's: a number of JSON comes in the
  exact form of Java, whose 1.6785219E9 is 1678521900.0.
-#}
{% macro has_too_few_digits(column, is_as_written='true') -%}
    coalesce(
        {{ column }} rlike '[eE]'
        and {{ is_as_written }}
        and length(regexp_extract({{ number_text_of(column) }}, '[.]([0-9]*)[eE]', 1))
        < try_cast(regexp_extract({{ number_text_of(column) }}, '[eE][+]?([0-9]+)\\z', 1) as int)
        - if(try_cast({{ number_text_of(column) }} as double) >= 1e11, 3, 0),
        false
    )
{%- endmacro %}
