{#- The rows of this model that lie in the time of a version that has come or changed; `starts_at` and
    `ends_at` are the row's own time. -#}
{% macro rows_of_changed(versions, key, columns, starts_at, ends_at) %}
    select
        {% for column in columns -%}
        known.{{ column }}{{ ',' if not loop.last }}
        {% endfor -%}
    from {{ this }} as known
    inner join {{ arrivals(versions) }} as changed
        on
            known.{{ key }} = changed.{{ key }}
            and {{ starts_at }} < changed.valid_to
            and {{ ends_at }} > changed.valid_from
{% endmacro %}
