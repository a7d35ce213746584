{#- No two rows have the same key, two nulls being the same value, and none of some columns is ever null: one
    scan and one node for both. -#}
{% test grain(model, key, not_null=[]) %}
    {% for columns in [key, not_null] if columns is string or columns is not iterable %}
        {% do exceptions.raise_compiler_error('grain: key and not_null are to be lists, but got ' ~ columns) %}
    {% endfor %}
    select
        {{ key | join(', ') }},
        count(*) as num_rows,
        count_if({{ not_null | join(' is null or ') ~ ' is null' if not_null else 'false' }}) as num_with_nulls
    from {{ model }}
    group by {{ key | join(', ') }}
    having num_rows > 1 or num_with_nulls > 0
{% endtest %}
