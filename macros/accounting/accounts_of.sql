{#-
  What became of the events of entities, up to this node's cut. `entities`: (entity, the relation of what
  came, the relation of what was kept, the columns of an event's identity). Per entity: events, accepted,
  duplicates, and invented, rows of silver that nothing came for.
-#}
{% macro accounts_of(entities) %}
    {% for entity, came, kept, identity in entities -%}
    select
        '{{ entity }}' as entity,
        sum(num_due) as events,
        sum(if(num_due > 0, num_kept, 0)) as accepted,
        sum(if(num_due > 0 and not is_refused, num_due - 1, 0)) as duplicates,
        sum(if(num_came = 0, num_kept, 0)) as invented
    from (
        select
            {{ identity | join(', ') }},
            is_refused,
            sum(num_came) as num_came,
            sum(num_due) as num_due,
            sum(num_kept) as num_kept
        from (
            select
                {{ identity | join(', ') }},
                reject_reason is not null as is_refused,
                1 as num_came,
                if(_load_id <= {{ cut() }}, 1, 0) as num_due,
                0 as num_kept
            from {{ came }}
            union all
            select
                {{ identity | join(', ') }},
                false as is_refused,
                0 as num_came,
                0 as num_due,
                1 as num_kept
            from {{ kept }}
            where not _is_deleted
        )
        group by {{ identity | join(', ') }}, is_refused
    )
    {{ 'union all' if not loop.last }}
    {% endfor -%}
{% endmacro %}
