{#- The rejects of a staging model: whole rows and, where it has them, single fields of accepted rows. -#}
{% macro rejects_of(relation, source_name, entity, with_fields=false) -%}
    select
        '{{ source_name }}' as source,
        '{{ entity }}' as entity,
        'row' as level,
        reject_reason as reason,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from {{ relation }}
    where reject_reason is not null
    {%- if with_fields %}
    union all
    select
        '{{ source_name }}' as source,
        '{{ entity }}' as entity,
        'field' as level,
        field_reject_reason as reason,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from {{ relation }}
    where reject_reason is null and field_reject_reason is not null
    {%- endif %}
{%- endmacro %}
