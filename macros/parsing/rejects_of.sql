{#- The rejects of a staging model: whole rows and, where it has them, single fields of accepted rows. One
    select, since each would parse the arrivals anew. -#}
{% macro rejects_of(relation, source_name, entity, with_fields=false) -%}
    {%- set reasons = 'coalesce(reject_reason, field_reject_reason)' if with_fields else 'reject_reason' -%}
    select
        {{ "'" ~ source_name ~ "'" if '.' in source_name else source_name }} as source,
        '{{ entity }}' as entity,
        if(reject_reason is null, 'field', 'row') as level,
        {{ reasons }} as reason,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from {{ relation }}
    where {{ reasons }} is not null
{%- endmacro %}
