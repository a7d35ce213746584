{#-
  Nothing is lost and nothing is counted twice: of every entity, the events that came are those that
  were accepted, those that say the same again and those that were refused; the entities of a source
  together are its rows in bronze; and silver has invented none. A line or message that holds more than
  one object is one event and one reject: where it was accepted, what else it holds is lost. What came
  after the build's cut does not count yet.
-#}
{%- set entities = [
    (
        'registrations', ref('stg_sbit__registrations'), ref('int_registrations'),
        ['user_id', 'device_id', 'mac_address', 'registered_at'],
    ),
    (
        'gym_logins', ref('stg_sbit__gym_logins'), ref('int_gym_logins'),
        ['gym', 'mac_address', 'login_at', 'logout_at'],
    ),
    (
        'profile_changes', 'profile_changes', ref('int_profile_changes'),
        ['user_id', 'changed_at', 'change_type', 'payload_sha256'],
    ),
    (
        'workout_events', ref('stg_sbit__workout_events'), ref('int_workout_events'),
        ['user_id', 'workout_id', 'session_id', 'action', 'event_at'],
    ),
    (
        'heart_rates', ref('stg_sbit__heart_rates'), ref('int_readings'),
        ['device_id', 'reading_at'],
    ),
] -%}
with

profile_changes as (
    select
        *,
        {{ payload_sha256([
            'dob_text',
            'sex',
            'gender',
            'first_name',
            'last_name',
            'street_address',
            'city',
            'state',
            'zip',
        ]) }} as payload_sha256
    from {{ ref('stg_sbit__profile_changes') }}
),

accounts as (
    {{ accounts_of(entities) }}
    union all
    select
        'unknown' as entity,
        count_if(reject_reason is not null and _load_id <= {{ cut() }}) as events,
        0 as accepted,
        0 as duplicates,
        0 as invented
    from {{ ref('stg_sbit__messages') }}
),

refused as (
    select
        entity,
        count(*) as rejects
    from {{ ref('rejects') }}
    where level = 'row' and _load_id <= {{ cut() }}
    group by entity
),

balances as (
    select
        accounts.entity,
        case
            when accounts.entity = 'registrations' then 'registered_users'
            when accounts.entity = 'gym_logins' then 'gym_logins'
            else 'kafka_multiplex'
        end as source,
        coalesce(accounts.events, 0) as events,
        coalesce(
            accounts.accepted + accounts.duplicates, 0
        ) + coalesce(refused.rejects, 0) as accounted_for,
        coalesce(accounts.invented, 0) as invented
    from accounts
    left join refused
        on accounts.entity = refused.entity
),

bronze as (
    {% for table in ['registered_users', 'gym_logins', 'kafka_multiplex'] -%}
    select
        '{{ table }}' as source,
        count_if(_load_id <= {{ cut() }}) as events
    from {{ source('sbit', table) }}
    {{ 'union all' if not loop.last }}
    {% endfor -%}
),

more_than_events as (
    select count(*) as events
    from {{ source('sbit', 'kafka_multiplex') }}
    where
        _load_id <= {{ cut() }}
        and {{ holds_more_than_an_object('coalesce(value, _raw)') }}
),

refused_for_more as (
    select count(*) as rejects
    from {{ ref('rejects') }}
    where
        source = 'sbit.kafka_multiplex'
        and level = 'row'
        and _load_id <= {{ cut() }}
        and {{ holds_more_than_an_object('raw_text') }}
),

compared as (
    select
        entity as subject,
        events,
        accounted_for,
        invented
    from balances
    union all
    select
        bronze.source as subject,
        max(bronze.events) as events,
        sum(balances.accounted_for) as accounted_for,
        sum(balances.invented) as invented
    from bronze
    left join balances
        on bronze.source = balances.source
    group by bronze.source
    union all
    select
        'more than one object' as subject,
        more_than_events.events,
        refused_for_more.rejects as accounted_for,
        0 as invented
    from more_than_events
    cross join refused_for_more
)

select *
from compared
where
    events <> accounted_for
    or invented > 0
