{#-
  The rows of a table of the shop's database, by file or pulled, typed and judged. `content` says of each column
  besides key and change column how it is `read` (as it is, if that is not said) and what holds where that
  comes to nothing: the row is `refused`, or where something was told the field is `lost`; `is_time` refuses
  times that cannot be.

  Files are ordered by the change column, so without one that is believed their row is refused; pulls are
  ordered by their numbers, so such a row loses it alone. What a file says under `_op`, in any case, is one of
  two words, else its row is refused: taken for another, a row that is gone would count. A row that is gone, or
  that a pull saw and that is refused, tells of its key alone.
-#}
{% macro table_rows(relation, key, content, changed_at) -%}
{%- set columns = key + content.keys() | list + [changed_at] -%}
with

source as (
    select
        * except (_op),
        _pull_key is not null as is_pulled,
        nullif(
            lower(trim(coalesce({% for name in ['_op', '_OP'] -%}
                get_json_object(_rescued, '$.{{ name }}'){{ ', ' if not loop.last }}
            {%- endfor %}))),
            ''
        ) as told_op,
        coalesce(_op, if(told_op = 'delete', 'delete', null)) as _op,
        to_json(struct({{ columns | join(', ') }}, _rescued)) as raw_text
    from {{ relation }}
),

judged as (
    select
        *,
        case
            {% for column in key -%}
            when coalesce(trim(cast({{ column }} as string)), '') = '' then '{{ column }} is missing'
            {% endfor -%}
        end as key_fault,
        coalesce(
            {% for column, rule in content.items() -%}
            {% if rule.is_time -%}
            {{ time_fault('retail', column, column) }},
            {% elif rule.refused -%}
            if({{ rule.read or column }} is null, '{{ column }} {{ rule.refused }}', null),
            {% endif -%}
            {% endfor -%}
            null
        ) as content_fault,
        coalesce(
            {% for column, rule in content.items() if rule.lost -%}
            if({{ rule.read }} is null and {{ column }} is not null, '{{ column }} {{ rule.lost }}', null),
            {% endfor -%}
            null
        ) as field_fault,
        {{ time_fault('retail', changed_at, changed_at) }} as clock_fault
    from source
),

decided as (
    select
        *,
        case
            when is_pulled and _op = 'delete' then null
            when is_pulled then coalesce(key_fault, content_fault)
            when told_op not in ('delete', 'upsert') then '_op is none of delete, upsert'
            when _op = 'delete' then coalesce(key_fault, clock_fault)
            else coalesce(key_fault, content_fault, clock_fault)
        end as reject_reason,
        if(_op = 'delete', null, coalesce(
            field_fault, if(is_pulled and {{ changed_at }} is not null, clock_fault, null)
        )) as field_reject_reason
    from judged
),

told as (
    select
        *,
        not _op <=> 'delete' and not (is_pulled and reject_reason is not null) as is_told
    from decided
)

select
    {% for column in key -%}
    {{ column }},
    {% endfor -%}
    {% for column, rule in content.items() -%}
    if(is_told, {{ rule.read or column }}, null) as {{ column }},
    {% endfor -%}
    if(is_pulled and (not is_told or clock_fault is not null), null, {{ changed_at }}) as {{ changed_at }},
    raw_text,
    reject_reason,
    field_reject_reason,
    _source_file,
    _source_sha256,
    _ingested_at,
    _load_id,
    _pull_id,
    _pulled_at,
    _op,
    _pull_key
from told
{%- endmacro %}
