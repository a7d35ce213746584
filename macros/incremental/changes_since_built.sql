{#-
  The change feed of a table since its reader's domain was built: of each key the last change, with the
  table's columns, `_change_type` (insert, update_postimage or delete) and `_commit_version`. Empty when
  nothing is new, and in a full build, which reads the table itself. How far it was read is remembered with
  `built`.
-#}
{% macro changes_since_built(relation, keys) %}
    {% set is_asked = execute and not cannot_ask() %}
    {% if is_asked %}
        {% set domain = run_state()['domains'][domain_of(model)] %}
        {% set read = domain['feeds'].get(relation.identifier) if is_load_by_load() else none %}
        {% set newest = current_version(relation) %}
        {% do domain.setdefault('feeds_reached', {}).update({relation.identifier: newest}) %}
    {% endif %}
    {% if not is_asked or read is none or read == newest %}
        (
            select
                *,
                'insert' as _change_type,
                cast(null as bigint) as _commit_version
            from {{ relation }}
            where {{ '_load_id > ' ~ built() if execute and cannot_ask() else 'false' }}
        )
    {% else %}
        (
            select * except (_commit_timestamp)
            from table_changes('{{ relation }}', {{ read + 1 }}, {{ newest }})
            where _change_type <> 'update_preimage'
            qualify row_number() over (
                partition by {{ keys | join(', ') }}
                order by _commit_version desc, if(_change_type = 'delete', 1, 0)
            ) = 1
        )
    {% endif %}
{% endmacro %}

{#- The newest version of a Delta table, asked once a run. -#}
{% macro current_version(relation) %}
    {% set versions = run_state()['versions'] %}
    {% if relation | string not in versions %}
        {% do versions.update({
            relation | string:
                run_query('describe history ' ~ relation ~ ' limit 1').columns['version'].values()[0] | int
        }) %}
    {% endif %}
    {{ return(versions[relation | string]) }}
{% endmacro %}
