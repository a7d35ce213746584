-- the first build

SELECT
    table_catalog,
    table_schema,
    table_name,
    filter_name,
    target_columns
  FROM `main_test`.`information_schema`.`row_filters`
  WHERE table_catalog = 'main_test'
    AND table_schema = 'silver'
    AND table_name = 'int_file_rejects';

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

SELECT column_name
  FROM `main_test`.`information_schema`.`columns`
  WHERE table_catalog = 'main_test'
    AND table_schema = 'silver'
    AND table_name = 'int_file_rejects'
    AND is_nullable = 'NO';

SELECT kcu.constraint_name, kcu.column_name
  FROM `main_test`.information_schema.key_column_usage kcu
  WHERE kcu.table_catalog = 'main_test'
    AND kcu.table_schema = 'silver'
    AND kcu.table_name = 'int_file_rejects'
    AND kcu.constraint_name = (
      SELECT constraint_name
      FROM `main_test`.information_schema.table_constraints
      WHERE table_catalog = 'main_test'
        AND table_schema = 'silver'
        AND table_name = 'int_file_rejects'
        AND constraint_type = 'PRIMARY KEY'
    )
  ORDER BY kcu.ordinal_position;

SELECT
    kcu.constraint_name,
    kcu.column_name AS from_column,
    ukcu.table_catalog AS to_catalog,
    ukcu.table_schema AS to_schema,
    ukcu.table_name AS to_table,
    ukcu.column_name AS to_column
  FROM `main_test`.information_schema.key_column_usage kcu
  JOIN `main_test`.information_schema.referential_constraints rc
    ON kcu.constraint_catalog = rc.constraint_catalog
    AND kcu.constraint_schema = rc.constraint_schema
    AND kcu.constraint_name = rc.constraint_name
  JOIN `main_test`.information_schema.key_column_usage ukcu
    ON rc.unique_constraint_catalog = ukcu.constraint_catalog
    AND rc.unique_constraint_schema = ukcu.constraint_schema
    AND rc.unique_constraint_name = ukcu.constraint_name
    AND kcu.ordinal_position = ukcu.ordinal_position
  WHERE kcu.table_catalog = 'main_test'
    AND kcu.table_schema = 'silver'
    AND kcu.table_name = 'int_file_rejects'
    AND kcu.constraint_name IN (
      SELECT constraint_name
      FROM `main_test`.information_schema.table_constraints
      WHERE table_catalog = 'main_test'
        AND table_schema = 'silver'
        AND table_name = 'int_file_rejects'
        AND constraint_type = 'FOREIGN KEY'
    )
  ORDER BY kcu.ordinal_position;

SELECT
    column_name,
    mask_name,
    using_columns
  FROM `system`.`information_schema`.`column_masks`
  WHERE table_catalog = 'main_test'
    AND table_schema = 'silver'
    AND table_name = 'int_file_rejects';

SELECT
    table_catalog,
    table_schema,
    table_name,
    filter_name,
    target_columns
  FROM `main_test`.`information_schema`.`row_filters`
  WHERE table_catalog = 'main_test'
    AND table_schema = 'silver'
    AND table_name = 'int_file_rejects';

SHOW TBLPROPERTIES `main_test`.`silver`.`int_file_rejects`;

describe extended `main_test`.`silver`.`int_file_rejects`;

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

DESCRIBE TABLE EXTENDED `int_file_rejects__dbt_tmp` AS JSON;

DESCRIBE TABLE EXTENDED `main_test`.`silver`.`int_file_rejects` AS JSON;

insert into `main_test`.`silver`.`int_file_rejects` by name
        replace where _load_id > 1 and _load_id <= 2
        select * from `int_file_rejects__dbt_tmp`;
