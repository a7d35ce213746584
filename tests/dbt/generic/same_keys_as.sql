{#-
  The model has every key of the models above it and no other: nothing is lost, nothing is invented.
  Only keys are compared that have not changed since the model last looked, so that the test also holds
  after a build of a part of the project.
-#}
{% test same_keys_as(model, columns, to, to_where='not _is_deleted') %}
    {% if columns is string or columns is not iterable %}
        {% do exceptions.raise_compiler_error(
            'same_keys_as: columns is to be a list, but got ' ~ columns
        ) %}
    {% endif %}
    select {{ columns | join(', ') }}
    from (
        select
            {{ columns | join(', ') }},
            true as is_here,
            false as is_there,
            0 as _load_id
        from {{ model }}
        {%- for relation in (to if to is not mapping else [to]) %}
        union all
        select
            {{ columns | join(', ') }},
            false as is_here,
            {{ to_where }} as is_there,
            _load_id
        from {{ relation }}
        {%- endfor %}
    )
    group by {{ columns | join(', ') }}
    having bool_or(is_here) <> bool_or(is_there) and max(_load_id) <= {{ cut() }}
{% endtest %}
