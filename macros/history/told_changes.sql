{#-
  The changes of a table of a database that count, of what files and pulls have told (`rows_delivered`): one a key
  and moment, for a snapshot of the strategy `change_log`. What a pull has told of a key leaves nothing of what
  files tell.

  By file a change begins at its change column; of one moment a row that is gone counts, then the least digest.
  Pulled, at the change column where that has moved, else at the pull, and never before the one pulled earlier; of
  one moment the one pulled last counts.
-#}
{% macro told_changes(delivered, key, content, changed_at) -%}
{%- set keys = key | join(', ') -%}
{%- set pulls = 'partition by ' ~ keys ~ ' order by _pull_id' -%}
with

told as (
    select
        *,
        struct(_status = 'told', {{ content | join(', ') }}, {{ changed_at }}) as state
    from {{ delivered }}
    qualify (count(_pull_id) over (partition by {{ keys }}) > 0) = (_pull_id is not null)
),

in_order as (
    select
        *,
        lag(state) over ({{ pulls }}) as state_before,
        last_value({{ changed_at }}, true) over (
            {{ pulls }} rows between unbounded preceding and 1 preceding
        ) as changed_before
    from told
),

-- A pull that sees what the one before saw tells nothing new.
begun as (
    select
        *,
        if(
            _pull_id is null,
            {{ changed_at }},
            max(
                if(
                    {{ changed_at }} is null or {{ changed_at }} <=> changed_before,
                    _pulled_at,
                    {{ changed_at }}
                )
            ) over ({{ pulls }})
        ) as begun_at
    from in_order
    where _pull_id is null or not state <=> state_before
)

select
    {{ keys }},
    begun_at as changed_at,
    if(_status = 'told', 'new', 'delete') as change_type,
    _pull_id as pull_id,
    {{ content | join(',\n    ') }}
from begun
qualify row_number() over (
    partition by {{ keys }}, begun_at
    order by _pull_id desc, _status = 'told', {{ payload_sha256(key + content) }}
) = 1
{%- endmacro %}
