{#-
  A number's text, fit to be cast, or null: digits with one point at most and an exponent of two digits, 40
  characters in all, so neither NaN nor Infinity. To cast '1e-999999999' would take longer than any build.
  Every number that comes as text goes through this.
-#}
{% macro number_text_of(column) -%}
    case
        when length({{ trimmed(column) }}) <= 40
            and {{ trimmed(column) }} rlike '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]{1,2})?\\z'
            then {{ trimmed(column) }}
    end
{%- endmacro %}
