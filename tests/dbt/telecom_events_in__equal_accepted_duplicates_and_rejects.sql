{#- As `sbit_events_in__equal_accepted_duplicates_and_rejects`; here every table holds one
    entity. -#}
{%- set entities = [
    (
        'servers', ref('stg_telecom__servers'), ref('int_server_changes'),
        ['server_id', 'location', 'capacity_bps', 'valid_from'],
    ),
    (
        'customers', ref('stg_telecom__customers'), ref('int_customer_changes'),
        ['customer_id', 'kind', 'name', 'address', 'plan_bps', 'is_plan_invalid', 'valid_from'],
    ),
    (
        'devices', ref('stg_telecom__devices'), ref('int_device_registrations'),
        ['device_id', 'customer_id', 'device_type', 'ipv4', 'registered_at'],
    ),
    (
        'connections', ref('stg_telecom__connections'), ref('int_connections'),
        [
            'event_id', 'session_id', 'device_id', 'server_id', 'event_type', 'event_at',
            'asked_bps', 'received_bps', 'bytes',
        ],
    ),
] -%}
with

accounts as (
    {{ accounts_of(entities) }}
),

refused as (
    select
        entity,
        count(*) as rejects
    from {{ ref('rejects') }}
    where source like 'telecom.%' and level = 'row' and _load_id <= {{ cut() }}
    group by entity
),

bronze as (
    {% for entity, _, _, _ in entities -%}
    select
        '{{ entity }}' as entity,
        count_if(_load_id <= {{ cut() }}) as events
    from {{ source('telecom', entity) }}
    {{ 'union all' if not loop.last }}
    {% endfor -%}
)

select bronze.entity
from bronze
left join accounts on bronze.entity = accounts.entity
left join refused on bronze.entity = refused.entity
where
    bronze.events <> coalesce(accounts.events, 0)
    or bronze.events
    <> coalesce(accounts.accepted + accounts.duplicates, 0) + coalesce(refused.rejects, 0)
    or accounts.invented > 0
