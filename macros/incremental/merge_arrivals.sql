{#-
  The strategy of tables that keep what arrives: each row by its key, rows that have not changed left as they
  are. Config: `matched_condition`, which row of a key counts (`source` is the new one, `target` the one that
  is there); `skip_matched_step`, where the key is all there is; meta.layout and meta.range, the columns by
  which files are laid out, of which literals prune.
-#}
{% macro get_incremental_merge_arrivals_sql(arg_dict) %}
    {% if is_idle(none) %}
        select 'nothing has arrived' as outcome
    {% else %}
        {% set ranges = ranges_of(arg_dict['temp_relation']) %}
        {{ merge_sql(
            arg_dict['target_relation'], arg_dict['temp_relation'], arg_dict['unique_key'],
            predicate='and ' ~ in_ranges('target.', ranges) if ranges is not none else ''
        ) }}
    {% endif %}
{% endmacro %}

{#-
  The strategy of tables that work out touched keys again: what these yield now takes the place of what they
  yielded; a row that a touched key no longer yields is removed, or marked where the table has marks.
-#}
{% macro get_incremental_recompute_touched_sql(arg_dict) %}
    {% set touched = run_state()['touched'][model.unique_id] %}
    {% if is_idle(touched) %}
        select 'nothing has arrived' as outcome
    {% else %}
        {{ merge_sql(
            arg_dict['target_relation'], arg_dict['temp_relation'], arg_dict['unique_key'],
            predicate=touched_predicate('target', 'and '), removes=true
        ) }}
    {% endif %}
{% endmacro %}

{#- Whether this model has nothing to do in this run, which is noted: it gets no new version. -#}
{% macro is_idle(touched) %}
    {% set is_so = last_load_of(model) <= built() or (touched is not none and touched['literals'] == []) %}
    {% do run_state()['idle'].append(model.name) if is_so %}
    {{ return(is_so) }}
{% endmacro %}

{#- The MERGE of both. `predicate` on the target prunes files; with `removes`, the rows of touched keys go that
    the new rows lack: the source then has their keys too, flagged. A row is updated where it has changed, or is
    there again after its removal. -#}
{% macro merge_sql(target_relation, source_relation, unique_key, predicate='', removes=false) %}
    {% set columns = adapter.get_columns_in_relation(target_relation) | map(attribute='name') | list %}
    {% set keys = [unique_key] if unique_key is string else unique_key %}
    {% set is_marked = '_is_deleted' in columns %}
    {% set changes = [] %}
    {% for column in columns | reject('in', keys + ['_load_id', '_is_deleted']) %}
        {% do changes.append('not (source.' ~ column ~ ' <=> target.' ~ column ~ ')') %}
    {% endfor %}
    {% do changes.append('target._is_deleted') if is_marked %}
    merge into {{ target_relation }} as target
    using {% if removes %}(
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
            {% if is_marked %}where not _is_deleted{% endif %}
        ) as existing
            on {% for key in keys -%}
                worked_out.{{ key }} <=> existing.{{ key }}{{ ' and ' if not loop.last }}
            {%- endfor %}
    ){% else %}{{ source_relation }}{% endif %} as source
    on
        {% for key in keys -%}
        source.{{ key }} <=> target.{{ key }}{{ ' and ' if not loop.last }}
        {%- endfor %}
        {{ predicate }}
    {% if removes and is_marked %}
    when matched and source._is_removed and not target._is_deleted then update set
        target._is_deleted = true, target._load_id = {{ cut() }}
    {% elif removes %}
    when matched and source._is_removed then delete
    {% endif %}
    {% if not config.get('skip_matched_step') %}
    when matched
        {% if removes %}and not source._is_removed{% endif %}
        and ({{ config.get('matched_condition') or changes | join(' or ') or 'false' }})
        then update set
            {% for column in columns -%}
            target.{{ column }} = source.{{ column }}{{ ', ' if not loop.last }}
            {%- endfor %}
    {% endif %}
    when not matched {% if removes %}and not source._is_removed{% endif %} then insert
        ({{ columns | join(', ') }})
        values ({% for column in columns %}source.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
{% endmacro %}
