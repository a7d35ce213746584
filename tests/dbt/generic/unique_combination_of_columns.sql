{#- No two rows have the same values in these columns; two nulls are the same value. -#}
{% test unique_combination_of_columns(model, columns) %}
    {% if columns is string or columns is not iterable %}
        {% do exceptions.raise_compiler_error(
            'unique_combination_of_columns: columns is to be a list, but got ' ~ columns
        ) %}
    {% endif %}
    select
        {{ columns | join(', ') }},
        count(*) as num_rows
    from {{ model }}
    group by {{ columns | join(', ') }}
    having num_rows > 1
{% endtest %}
