{#-
  Nothing is lost and nothing is counted twice: of every entity, the events that came are those that were
  accepted, those that say the same again and those that were refused; the entities of a source (of several,
  where an event may come by each) together are its rows in bronze; and silver has invented none. A line or message that holds more than one object is one
  event and one reject: where it was accepted, what else it holds is lost. What came after the cut does not
  count yet.
-#}
{% test events_in_are_accounted_for(model, entities, objects={}) %}
with

sources as (
    select explode(array('{{ entities | map(attribute='source') | unique | join("', '") }}')) as name
),

accounts as (
    {% for entity in entities -%}
    select
        '{{ entity.name }}' as entity,
        '{{ entity.source }}' as source,
        {% if not entity.kept -%}
        count_if(reject_reason is not null and _load_id <= {{ cut() }}) as events,
        0L as accounted_for,
        0L as invented
    from {{ entity.came }}
        {%- else -%}
        {%- set identity = entity.identity | join(', ') -%}
        sum(num_due) as events,
        {# Those accepted, and what says the same again. -#}
        sum(if(num_due > 0, num_kept + if(is_refused, 0, num_due - 1), 0)) as accounted_for,
        sum(if(num_came = 0, num_kept, 0)) as invented
    from (
        select
            {{ identity }},
            is_refused,
            sum(num_came) as num_came,
            sum(num_due) as num_due,
            sum(num_kept) as num_kept
        from (
            select
                {% for column in entity.identity -%}
                {{ payload_sha256(entity.payload) ~ ' as ' if column == 'payload_sha256' }}{{ column }},
                {% endfor -%}
                reject_reason is not null as is_refused,
                1 as num_came,
                if(_load_id <= {{ cut() }}, 1, 0) as num_due,
                0 as num_kept
            from {{ entity.came }}
            union all
            select
                {{ identity }},
                false as is_refused,
                0 as num_came,
                0 as num_due,
                1 as num_kept
            from {{ entity.kept }}
            where {{ entity.kept_where or 'not _is_deleted' }}
        )
        group by {{ identity }}, is_refused
    )
        {%- endif %}
    union all
    {% endfor -%}
    select
        rejects.entity,
        sources.name as source,
        0L as events,
        count(*) as accounted_for,
        0L as invented
    from {{ model }} as rejects
    inner join sources on array_contains(split(sources.name, ', '), rejects.source)
    where rejects.level = 'row' and rejects._load_id <= {{ cut() }}
    group by rejects.entity, sources.name
),

balances as (
    select
        stack(
            2,
            entity, events, accounted_for, invented,
            source, 0L, accounted_for, 0L
        ) as (subject, events, accounted_for, invented)
    from accounts
    {% for names in entities | map(attribute='source') | unique -%}
    {% for name in names.split(', ') -%}
    union all
    select
        '{{ names }}' as subject,
        count(*) as events,
        0L as accounted_for,
        0L as invented
    from {{ source(*name.split('.')) }}
    where _load_id <= {{ cut() }}
    {% endfor -%}
    {% endfor -%}
    {# By other functions than those that read it; a text is looked at that has an object after an object, or
       another end than an object's. -#}
    {% for name, text in objects.items() -%}
    union all
    select
        'more than one object in {{ name }}' as subject,
        count_if(not is_reject) as events,
        count_if(is_reject) as accounted_for,
        0L as invented
    from (
        select {{ text }} as text, false as is_reject
        from {{ source(*name.split('.')) }}
        where _load_id <= {{ cut() }}
        union all
        select raw_text as text, true as is_reject
        from {{ model }}
        where source = '{{ name }}' and level = 'row' and _load_id <= {{ cut() }}
    )
    where
        text rlike '^\\s*[{]'
        and (text rlike '(?s)[}].*[{]' or not text rlike '[}]\\s*\\z')
        and (
            coalesce(json_array_length(concat('[', text, ']')), 0) <> 1
            or json_object_keys(concat('{"object":', text, '}')) is null
        )
    {% endfor -%}
)

select *
from (
    select
        subject,
        coalesce(sum(events), 0) as num_events,
        coalesce(sum(accounted_for), 0) as num_accounted_for,
        coalesce(sum(invented), 0) as num_invented
    from balances
    group by subject
)
where num_events <> num_accounted_for or num_invented > 0
{% endtest %}
