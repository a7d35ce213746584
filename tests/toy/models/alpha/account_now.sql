{{ config(schema='gold', materialized='view', meta={'since': 'as_of - interval 1 day'}) }}

with

events as (
    select * from {{ ref('int_events_recent') }}
    union all
    select * from {{ ref('int_events_arrived') }}
),

as_of as (
    select max(event_at) as as_of
    from events
    where event_at <= (select max_by(recorded_at, load_id) from {{ ref('int_loads_closed') }})
),

latest as (
    select
        account,
        as_of,
        max(struct(event_at, amount)).amount as amount
    from events
    inner join as_of on event_at between as_of - interval 1 day and as_of
    group by account, as_of
),

names as (
    select
        account,
        max_by(if(kind = 'delete', null, name), changed_at) as name
    from (
        select account, changed_at, kind, name from {{ ref('int_names') }}
        union all
        select account, changed_at, kind, name from {{ ref('int_names_arrived') }}
    ) as changes
    group by account
)

select
    latest.account,
    latest.as_of,
    latest.amount,
    names.name
from latest
left join names on latest.account = names.account
