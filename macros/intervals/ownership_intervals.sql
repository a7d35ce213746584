{#-
  Who owns a thing from when to when: its last registered owner, from the very moment of the
  registration; the first owner also owns it before. Two owners at one moment: the smaller user_id.
-#}
{% macro ownership_intervals(registrations, thing) %}
    select
        {{ thing }},
        user_id,
        case
            when row_number() over owners = 1 then {{ beginning_of_time() }}
            else registered_at
        end as valid_from,
        coalesce(lead(registered_at) over owners, {{ end_of_time() }}) as valid_to
    from (
        select
            {{ thing }},
            registered_at,
            min(user_id) as user_id
        from {{ registrations }}
        group by {{ thing }}, registered_at
    ) as registered
    window owners as (partition by {{ thing }} order by registered_at)
{% endmacro %}
