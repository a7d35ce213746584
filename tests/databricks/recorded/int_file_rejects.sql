-- the first build

create or replace table `main_test`.`silver`.`int_file_rejects`
    using delta
      as
      with
registrations as (
    select * from (
        select *
        from `main_test`.`silver`.`stg_sbit__registrations`
        where
            _load_id <= 1
    )
),
gym_logins as (
    select * from (
        select *
        from `main_test`.`silver`.`stg_sbit__gym_logins`
        where
            _load_id <= 1
    )
),
rejects as (
    select
        'sbit.registered_users' as source,
        'registrations' as entity,
        if(reject_reason is null, 'field', 'row') as level,
        reject_reason as reason,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from registrations
    where reject_reason is not null
    union all
    select
        'sbit.gym_logins' as source,
        'gym_logins' as entity,
        if(reject_reason is null, 'field', 'row') as level,
        coalesce(reject_reason, field_reject_reason) as reason,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from gym_logins
    where coalesce(reject_reason, field_reject_reason) is not null
)
select * from rejects;

-- a later build

create or replace temporary view `int_file_rejects__dbt_tmp` as
      with
registrations as (
    select * from (
        select *
        from `main_test`.`silver`.`stg_sbit__registrations`
        where
            _load_id <= 2
            and _load_id > 1
    )
),
gym_logins as (
    select * from (
        select *
        from `main_test`.`silver`.`stg_sbit__gym_logins`
        where
            _load_id <= 2
            and _load_id > 1
    )
),
rejects as (
    select
        'sbit.registered_users' as source,
        'registrations' as entity,
        if(reject_reason is null, 'field', 'row') as level,
        reject_reason as reason,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from registrations
    where reject_reason is not null
    union all
    select
        'sbit.gym_logins' as source,
        'gym_logins' as entity,
        if(reject_reason is null, 'field', 'row') as level,
        coalesce(reject_reason, field_reject_reason) as reason,
        raw_text,
        _source_file,
        _source_sha256,
        _ingested_at,
        _load_id
    from gym_logins
    where coalesce(reject_reason, field_reject_reason) is not null
)
select * from rejects;

insert into `main_test`.`silver`.`int_file_rejects` by name
        replace where _load_id > 1 and _load_id <= 2
        select * from `int_file_rejects__dbt_tmp`;
