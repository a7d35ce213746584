{#- None of these columns is null in any row: one scan for all, where `not_null` takes one for each. -#}
{% test not_null_columns(model, columns) %}
    {% if columns is string or columns is not iterable %}
        {% do exceptions.raise_compiler_error(
            'not_null_columns: columns is to be a list, but got ' ~ columns
        ) %}
    {% endif %}
    select {{ columns | join(', ') }}
    from {{ model }}
    where
        {% for column in columns -%}
        {{ column }} is null{{ ' or ' if not loop.last }}
        {%- endfor %}
{% endtest %}
