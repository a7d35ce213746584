{#- SQL that yields the text of a literal for a column's value, of the column's own type. -#}
{% macro literal_of(column) -%}
    case
        when {{ column }} is null then concat('cast(null as ', typeof({{ column }}), ')')
        else concat(
            'cast(\'',
            replace(replace(cast({{ column }} as string), '\\', '\\\\'), '\'', '\\\''),
            '\' as ', typeof({{ column }}), ')'
        )
    end
{%- endmacro %}
