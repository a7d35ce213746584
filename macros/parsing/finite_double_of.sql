{#- A number from text, or null; 'NaN' and 'Infinity' are no measurements. -#}
{% macro finite_double_of(column) -%}
    case
        when abs(try_cast({{ column }} as double)) < double('Infinity')
            then try_cast({{ column }} as double)
    end
{%- endmacro %}
