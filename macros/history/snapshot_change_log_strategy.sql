{#-
  A snapshot strategy for sources that deliver the changes themselves: the snapshot's query gives one
  change per key and moment, and every one becomes a version. A version ends where the next begins, so
  a late change is spliced in; a delete is a version of its own, and after it only `new` revives.
  Config: unique_key, a column or a list of them; updated_at, the change's moment; meta.change_type, the
  column that holds new, update or delete. dbt's own strategies keep only what the source looks like at
  each run.
-#}
{% macro snapshot_change_log_strategy(node, snapshotted_rel, current_rel, model_config, target_exists) %}
    {% set unique_key = config.get('unique_key') %}
    {% set updated_at = config.get('updated_at') %}
    {% set change_type = config.get('meta', {}).get('change_type') %}
    {% if not (unique_key and updated_at and change_type) %}
        {% do exceptions.raise_compiler_error(
            "Snapshot " ~ model.name ~ ": the strategy change_log needs unique_key, updated_at and "
            ~ "meta.change_type, but got " ~ [unique_key, updated_at, change_type]
        ) %}
    {% endif %}
    {% set keys = [unique_key] if unique_key is string else unique_key %}
    {{ return({
        'name': 'change_log',
        'unique_key': keys,
        'updated_at': updated_at,
        'change_type': change_type,
        'row_changed': 'true',
        'scd_id': snapshot_hash_arguments(keys + [updated_at]),
        'hard_deletes': 'ignore',
    }) }}
{% endmacro %}

{#- The versions of every key in a query of changes. -#}
{% macro change_log_versions(strategy, sql) %}
    {% set keys = strategy.unique_key | join(', ') %}
    {% set technical = strategy.unique_key + [strategy.updated_at, strategy.change_type] %}
    {% set attributes = get_columns_in_query(sql) | reject('in', technical) | list %}
    select
        {{ technical | join(', ') }},
        {% for attribute in attributes -%}
        case when not dbt_is_deleted then {{ attribute }} end as {{ attribute }},
        {% endfor -%}
        is_first_version,
        dbt_scd_id,
        {{ strategy.updated_at }} as dbt_updated_at,
        {{ strategy.updated_at }} as dbt_valid_from,
        dbt_valid_to,
        dbt_is_deleted,
        cast({{ cut() }} as bigint) as _load_id
    from (
        select
            *,
            {{ strategy.scd_id }} as dbt_scd_id,
            row_number() over versions = 1 as is_first_version,
            lead({{ strategy.updated_at }}) over versions as dbt_valid_to,
            coalesce(
                last_value(
                    case
                        when {{ strategy.change_type }} in ('new', 'delete')
                            then {{ strategy.change_type }} = 'delete'
                    end,
                    true
                ) over (
                    partition by {{ keys }}
                    order by {{ strategy.updated_at }}
                    rows between unbounded preceding and current row
                ),
                false
            ) as dbt_is_deleted
        from ({{ sql }}) as changes
        window versions as (
            partition by {{ keys }}
            order by {{ strategy.updated_at }}
        )
    ) as folded
{% endmacro %}

{#- The versions that the news yields, in the form in which dbt stages them. -#}
{% macro change_log_news(strategy, source_sql) %}
        select
            *,
            'insert' as dbt_change_type
        from ({{ change_log_versions(strategy, source_sql) }}) as versions
{% endmacro %}

{#- What brings them into the snapshot's table. -#}
{% macro change_log_merge(target, source) %}
    {{ merge_sql(
        target, source, 'dbt_scd_id', removes=true,
        predicate=touched_predicate('target', 'and ') if is_load_by_load() else ''
    ) }}
{% endmacro %}
