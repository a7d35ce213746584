{#-
  The versions of a thing from its changes: each holds from its moment to the next one's, and the first
  one before it too. Of two changes at one moment the first by `prefer` counts.
-#}
{% macro versions_of(changes, key, starts_at, attributes, prefer) %}
    select
        {{ key }},
        {{ attributes | join(', ') }},
        case
            when row_number() over versions = 1 then {{ beginning_of_time() }}
            else {{ starts_at }}
        end as valid_from,
        coalesce(lead({{ starts_at }}) over versions, {{ end_of_time() }}) as valid_to
    from (
        select *
        from {{ changes }}
        qualify row_number() over (partition by {{ key }}, {{ starts_at }} order by {{ prefer }}) = 1
    ) as preferred
    window versions as (partition by {{ key }} order by {{ starts_at }})
{% endmacro %}
