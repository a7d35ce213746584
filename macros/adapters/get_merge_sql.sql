{#-
  Overrides the adapter's merge, which matches null keys with nothing, ignores conditions, rewrites rows
  that have not changed and cannot remove what a touched key no longer yields.
-#}
{% macro spark__get_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) %}
    {{ merge_arrivals(target, source, unique_key) }}
{% endmacro %}

{% macro databricks__get_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) %}
    {{ merge_arrivals(target, source, unique_key) }}
{% endmacro %}

{#- The one MERGE of the project. `source` and `target` are the aliases that conditions use. -#}
{% macro merge_arrivals(target_relation, source_relation, unique_key) %}
    {% set touched = run_state()['touched'].get(model.unique_id) %}
    {% if not has_arrivals() or (touched and touched['literals'] == []) %}
        select 'nothing has arrived' as outcome
    {% else %}
        {% set columns = adapter.get_columns_in_relation(target_relation) | map(attribute='name') | list %}
        {% set keys = [unique_key] if unique_key is string else unique_key %}
        {% set compared = columns | reject('in', keys + ['_load_id', '_is_deleted']) | list %}
        {% set is_marked = '_is_deleted' in columns %}
        merge into {{ target_relation }} as target
        using {{ source_with_removals(target_relation, source_relation, keys, columns) if touched else source_relation }} as source
        on
            {% for key in keys -%}
            source.{{ key }} <=> target.{{ key }}{{ ' and ' if not loop.last }}
            {%- endfor %}
            {{ merge_predicate(source_relation, touched) }}
        {% if touched and is_marked %}
        when matched and source._is_removed and not target._is_deleted then update set
            target._is_deleted = true, target._load_id = {{ cut() }}
        {% elif touched %}
        when matched and source._is_removed then delete
        {% endif %}
        {% if not config.get('skip_matched_step') %}
        when matched
            {% if touched %}and not source._is_removed{% endif %}
            and ({{ config.get('matched_condition') or differs(compared, is_marked) }})
            then update set
                {% for column in columns -%}
                target.{{ column }} = source.{{ column }}{{ ', ' if not loop.last }}
                {%- endfor %}
        {% endif %}
        when not matched {% if touched %}and not source._is_removed{% endif %} then insert
            ({{ columns | join(', ') }})
            values ({% for column in columns %}source.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
    {% endif %}
{% endmacro %}

{#- The new rows and, flagged, the keys of the old rows that a touched key no longer yields. -#}
{% macro source_with_removals(target_relation, source_relation, keys, columns) %}
    (
        select
            {% for column in columns -%}
            {% if column in keys -%}
            coalesce(worked_out.{{ column }}, existing.{{ column }}) as {{ column }},
            {% else -%}
            worked_out.{{ column }},
            {% endif -%}
            {%- endfor %}
            worked_out._is_worked_out is null as _is_removed
        from (select *, true as _is_worked_out from {{ source_relation }}) as worked_out
        full outer join (
            select {{ keys | join(', ') }}
            from {{ only_touched(target_relation) }}
            {% if '_is_deleted' in columns %}where not _is_deleted{% endif %}
        ) as existing
            on {% for key in keys -%}
                worked_out.{{ key }} <=> existing.{{ key }}{{ ' and ' if not loop.last }}
            {%- endfor %}
    )
{% endmacro %}

{#-
  Literals on the target, since only these prune files: of the touched keys; or, where meta.layout names
  the layout column, its values among the new rows, each with the bounds of the column meta.range.
-#}
{% macro merge_predicate(source_relation, touched) %}
    {% set meta = config.get('meta', {}) %}
    {% if touched %}
        {{ touched_predicate('target', 'and ') }}
    {% elif meta.get('layout') %}
        {% set ranges = ranges_of(source_relation, meta['layout'], meta.get('range', meta['layout'])) %}
        {% if ranges is not none %}
            {% do run_state()['ranges'].update({model.name: ranges}) %}
            and {{ in_ranges('target.', ranges) }}
        {% endif %}
    {% endif %}
{% endmacro %}

{#- Whether any of these columns has changed, or a removed row is there again. -#}
{% macro differs(columns, is_marked) %}
    {%- for column in columns -%}
        not (source.{{ column }} <=> target.{{ column }}){{ ' or ' if not loop.last }}
    {%- endfor -%}
    {%- if is_marked %}{{ ' or ' if columns }}target._is_deleted{% endif -%}
    {%- if not columns and not is_marked %}false{% endif -%}
{% endmacro %}
