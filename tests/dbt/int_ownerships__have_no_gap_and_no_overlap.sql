with

ownerships as (
    {% for relation, thing in [
        (ref('int_device_ownerships'), 'device_id'), (ref('int_mac_ownerships'), 'mac_address')
    ] -%}
    select
        '{{ thing }}' as thing,
        cast({{ thing }} as string) as thing_id,
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
from ownerships
where
    valid_from <> coalesce(previous_valid_to, {{ beginning_of_time() }})
    or valid_to <> coalesce(next_valid_from, {{ end_of_time() }})
    or valid_from >= valid_to
