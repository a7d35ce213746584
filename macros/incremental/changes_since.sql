{#-
  The change feed of a table after a version: of each key the last change, with the table's columns,
  `_change_type` (insert, update_postimage or delete) and `_commit_version`. Empty when nothing is new.
  Versions from before the table was replaced cannot be read, so the feed starts at the replacement.
-#}
{% macro changes_since(relation, keys, version) %}
    {% if not execute or version is none or version == current_version(relation) %}
        (
            select
                *,
                'insert' as _change_type,
                cast(null as bigint) as _commit_version
            from {{ relation }}
            where {{ '_load_id > ' ~ watermark() if execute and cannot_ask() else 'false' }}
        )
    {% else %}
        {% set newest = current_version(relation) %}
        {% set first = [version + 1] %}
        {% for commit in run_query(
            'describe history ' ~ relation ~ ' limit ' ~ (newest - version)
        ).rows if 'REPLACE' in commit['operation'] or 'CREATE' in commit['operation'] %}
            {% do first.append(commit['version'] | int) %}
        {% endfor %}
        (
            select * except (_commit_timestamp)
            from table_changes('{{ relation }}', {{ first | max }}, {{ newest }})
            where _change_type <> 'update_preimage'
            qualify row_number() over (
                partition by {{ keys | join(', ') }}
                -- A replacement removes and inserts in one version.
                order by _commit_version desc, if(_change_type = 'delete', 1, 0)
            ) = 1
        )
    {% endif %}
{% endmacro %}

{#- The newest version of a Delta table, asked once a run. -#}
{% macro current_version(relation) %}
    {% if cannot_ask() %}
        {{ return(none) }}
    {% endif %}
    {% set versions = run_state()['versions'] %}
    {% if relation | string not in versions %}
        {% do versions.update({
            relation | string:
                run_query('describe history ' ~ relation ~ ' limit 1').columns['version'].values()[0] | int
        }) %}
    {% endif %}
    {{ return(versions[relation | string]) }}
{% endmacro %}

{#- The version of a change feed up to which this model has read; the version up to which it reads now is
    recorded with its watermark. -#}
{% macro feed_version(relation) %}
    {% if not execute or cannot_ask() %}
        {{ return(none) }}
    {% endif %}
    {% do run_state()['feeds_reached'].update({model.name: current_version(relation)}) %}
    {{ return(run_state()['feeds'].get(model.name) if is_load_by_load() else none) }}
{% endmacro %}
