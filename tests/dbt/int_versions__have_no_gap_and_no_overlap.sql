{#- What holds when: every server, plan and device has one version at every moment. -#}
with

versions as (
    {% for relation, thing in [
        (ref('int_server_versions'), 'server_id'),
        (ref('int_customer_plans'), 'customer_id'),
        (ref('int_device_customers'), 'device_id'),
    ] -%}
    select
        '{{ thing }}' as thing,
        {{ thing }} as thing_id,
        valid_from,
        valid_to,
        lag(valid_to) over (partition by {{ thing }} order by valid_from) as previous_valid_to,
        lead(valid_from) over (partition by {{ thing }} order by valid_from) as next_valid_from
    from {{ relation }}
    where not _is_deleted
    {{ 'union all' if not loop.last }}
    {% endfor -%}
)

select *
from versions
where
    valid_from <> coalesce(previous_valid_to, {{ beginning_of_time() }})
    or valid_to <> coalesce(next_valid_from, {{ end_of_time() }})
    or valid_from >= valid_to
