{#- The rows of a relation that have come or changed since this model last looked, up to its cut. -#}
{% macro arrivals(relation) -%}
    (
        select *
        from {{ relation }}
        where
            _load_id <= {{ cut() }}
            {% if is_load_by_load() -%}
            and _load_id > {{ watermark() }}
            {%- endif %}
    )
{%- endmacro %}
